"""``clanforge demo``: watches a dozen jobs of a simulated API, and compares the results with the simulator's plan."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from attrs import frozen
from rich.console import Console
from rich.table import Table
from rich.text import Text

from clanforge_async import AccessKeyAuth, ClanforgeClient, JobRef, WatchResult
from clanforge_async.cli.commands import report_outages, watch_events
from clanforge_async.cli.errors import COMPLETED, outcome
from clanforge_async.cli.formatting import format_job_count, print_line, style_of
from clanforge_async.cli.output.select import OutputOptions
from clanforge_async.cli.parameters import WatchOptions
from clanforge_async.simulator import DEMO_ACCOUNT, Outcome, Run, Simulator, serve

_NOT_AS_PLANNED = 1
_RETRIED_DIFF = 5005


@frozen(kw_only=True)
class DemoResult:
    """Result of one watch, and the outcome that the simulator planned.

    Attributes:
        result: Result from the watcher.
        planned: Outcome that the simulator planned.
        delay: Seconds from the end of the job to its detection.
    """

    result: WatchResult
    planned: Outcome
    delay: float

    @property
    def outcome(self) -> str:
        """Outcome that the watcher saw."""
        return outcome(self.result.error)

    @property
    def is_as_planned(self) -> bool:
        """Whether the watcher saw the planned outcome."""
        return self.outcome == self.planned


async def run_demo(
    speed: float = 1.0, watch_options: WatchOptions | None = None, output_options: OutputOptions | None = None
) -> int:
    """Run the demo.

    Args:
        speed: Speed factor of the simulated jobs (10: ten times faster).
        watch_options: None: the defaults of ``clanforge watch``.
        output_options: None: the defaults of ``clanforge watch``.

    Returns:
        0 if every job ended as planned. The plan includes one failed and one squashed job.
    """
    simulator = Simulator(speed=speed)
    planned = _add_jobs(simulator)
    watch_options = watch_options or WatchOptions()
    async with serve(simulator) as base_url, _client(base_url) as client, watch_options.watcher(client) as watcher:
        print_line(f"Simulated Clanforge API at {base_url}.")
        print_line(f"Retrying image-diff/{_RETRIED_DIFF}, which has failed, and watching {len(planned)} jobs at once.")
        retried = (await client.image_diffs.retry(_RETRIED_DIFF)).ref
        refs = [retried if (ref.kind, ref.id) == (retried.kind, retried.id) else ref for ref in planned]
        api = report_outages(client)
        output = (output_options or OutputOptions()).select(refs, api)
        ends = watch_events(watcher, refs, output, api)
        results = [_compare(simulator, planned, result) async for result in ends]
    console = Console(highlight=False)
    console.print(_results_table(results))
    console.print(_summary(results))
    return COMPLETED if all(result.is_as_planned for result in results) else _NOT_AS_PLANNED


def _add_jobs(simulator: Simulator) -> dict[JobRef, Outcome]:
    return {
        simulator.add_image_version(9001, duration=6): "completed",
        simulator.add_image_version(9002, duration=9, queued_for=3): "completed",
        simulator.add_image_version(9003, duration=16): "completed",
        simulator.add_image_version(9004, duration=20, outcome="failed", fails_at=0.6): "failed",
        simulator.add_image_version(9005, duration=21, queued_for=3): "completed",
        simulator.add_image_version(9006, duration=27): "completed",
        simulator.add_image_version(9007, duration=30): "completed",
        simulator.add_image_diff(5001, duration=5): "completed",
        simulator.add_image_diff(5002, duration=8): "completed",
        simulator.add_image_diff(5003, duration=20, outcome="squashed", fails_at=0.5): "squashed",
        simulator.add_image_diff(5004, duration=15, queued_for=4): "completed",
        simulator.add_image_diff(
            _RETRIED_DIFF, duration=0, outcome="failed", retries=[Run(duration=18, queued_for=4)]
        ): "completed",
    }


def _client(base_url: str) -> ClanforgeClient:
    # Not from_env(): no environment variable may make the demo use a real account.
    auth = AccessKeyAuth(DEMO_ACCOUNT.access_key or "", DEMO_ACCOUNT.secret_key or "")
    return ClanforgeClient(auth, account_service_id=DEMO_ACCOUNT.account_service_id, base_url=base_url)


def _compare(simulator: Simulator, planned: Mapping[JobRef, Outcome], result: WatchResult) -> DemoResult:
    return DemoResult(
        result=result,
        planned=planned[JobRef(result.ref.kind, result.ref.id)],
        delay=simulator.clock() - simulator.ended_at(result.ref),
    )


def _results_table(results: Sequence[DemoResult]) -> Table:
    """Return a table with one row for each job, in the order in which they ended."""
    table = Table("job", "result")
    for heading in ("duration", "polls", "delay"):
        table.add_column(heading, justify="right")
    for result in results:
        table.add_row(
            str(result.result.ref),
            _outcome_cell(result),
            f"{result.result.elapsed:.1f} s",
            str(result.result.polls),
            f"{result.delay:.2f} s",
        )
    return table


def _outcome_cell(result: DemoResult) -> Text:
    if result.is_as_planned:
        return Text(result.outcome, style=style_of(result.outcome))
    return Text(f"{result.outcome}, not {result.planned}", style="bold red")


def _summary(results: Sequence[DemoResult]) -> str:
    """Return what the output of the watch has not said already: its own summary has counts, time and polls."""
    unplanned = sum(not result.is_as_planned for result in results)
    comparison = f"{unplanned} NOT as planned" if unplanned else "all as planned"
    delays = [result.delay for result in results]
    return (
        f"{format_job_count(len(results))}: {comparison}; "
        f"delay of detection: median {statistics.median(delays):.2f} s, maximum {max(delays):.2f} s."
    )
