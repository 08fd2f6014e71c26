"""``clanforge demo``: a dozen jobs watched at once, on a simulated API."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console

from clanforge_async import AccessKeyAuth, ClanforgeClient, JobRef, WatchResult
from clanforge_async.cli.options import Pace
from clanforge_async.cli.outcomes import COMPLETED
from clanforge_async.cli.show import Show
from clanforge_async.cli.sightings import Sighting, summarise, tabulate
from clanforge_async.cli.text import write
from clanforge_async.cli.watching import follow
from clanforge_async.simulator import DEMO_ACCOUNT, Outcome, Run, Simulator, serve

_NOT_AS_PLANNED = 1
_FAILED_BEFORE = 5005


async def demonstrate(speed: float = 1.0, pace: Pace | None = None, show: Show | None = None) -> int:
    """Run the demonstration.

    Args:
        speed: How many times as fast the jobs run.
        pace: How they are watched; None: as by anybody who leaves it to the watcher.
        show: What is shown of them; None: all that stdout can show.

    Returns:
        0 if every job was seen to end as planned. One is planned to fail and one to be squashed.
    """
    simulator = Simulator(speed=speed)
    planned = _fill(simulator)
    async with serve(simulator) as base_url, _client(base_url) as client, (pace or Pace()).watcher(client) as watcher:
        write(f"A simulated Clanforge answers at {base_url}.")
        write(f"image-diff/{_FAILED_BEFORE} has failed there: retrying it, and watching {len(planned)} jobs at once.")
        retried = (await client.image_diffs.retry(_FAILED_BEFORE)).ref
        refs = [retried if (ref.kind, ref.id) == (retried.kind, retried.id) else ref for ref in planned]
        ends = follow(watcher, refs, (show or Show()).presenter(refs))
        sightings = [_sighting(simulator, planned, result) async for result in ends]
    console = Console(highlight=False)
    console.print(tabulate(sightings))
    console.print(summarise(sightings))
    return COMPLETED if all(sighting.is_as_planned for sighting in sightings) else _NOT_AS_PLANNED


def _fill(simulator: Simulator) -> dict[JobRef, Outcome]:
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
            _FAILED_BEFORE, duration=0, outcome="failed", retries=[Run(duration=18, queued_for=4)]
        ): "completed",
    }


def _client(base_url: str) -> ClanforgeClient:
    # Built by hand, so that nothing in the environment can point the demonstration at a real account.
    auth = AccessKeyAuth(DEMO_ACCOUNT.access_key or "", DEMO_ACCOUNT.secret_key or "")
    return ClanforgeClient(auth, account_service_id=DEMO_ACCOUNT.account_service_id, base_url=base_url)


def _sighting(simulator: Simulator, planned: Mapping[JobRef, Outcome], result: WatchResult) -> Sighting:
    return Sighting(
        result=result,
        planned=planned[JobRef(result.ref.kind, result.ref.id)],
        late=simulator.clock() - simulator.ended_at(result.ref),
    )
