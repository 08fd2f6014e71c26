"""Report of a soak run: its figures and their thresholds."""

from __future__ import annotations

import statistics
from collections import Counter

from attrs import frozen
from bench.text_table import text_table
from bench.thresholds import Threshold

from soak.checker import CheckResult
from soak.fault_kinds import all_fault_kinds
from soak.samples import MetricSummary
from soak.settings import Settings

_MIB = 2**20
_MAX_GROWTH = 2.0
_MIN_SECONDS_FOR_GROWTH = 120.0
"""Duration in seconds from which on growth is significant."""


@frozen(kw_only=True)
class Report:
    """Figures of a soak run.

    Attributes:
        settings: Settings of the run.
        elapsed: Seconds from the start to the end of the last watch.
        servers: Number of servers, each started after the previous one was killed.
        watches: Number of watches started.
        workers_left: Number of workers that had not finished at the deadline.
        unfinished: References that were still being watched at the deadline.
        min_active: Minimum of concurrent watches in the second half, while all workers have jobs.
        faults: Number of injected faults by kind.
        check: Result of checking the watches.
        memory: Resident memory of the client process in the second half, in bytes.
        blocks: Memory blocks allocated by Python objects in the second half.
        traced: Bytes allocated by Python objects in the second half; all 0 if `tracemalloc` is off.
        files: Files that the client has opened, in the second half.
        max_concurrency: Maximum concurrent requests of the client.
        measured_concurrency: Concurrent requests that the client can still make after the run.
        files_left: Files left open at the end.
        tasks_left: Tasks left at the end.
        errors: Captured errors and warnings.
        cpu: CPU seconds of the client process and of the servers.
    """

    settings: Settings
    elapsed: float
    servers: int
    watches: int
    workers_left: int
    unfinished: list[str]
    min_active: int
    faults: Counter[str]
    check: CheckResult
    memory: MetricSummary
    blocks: MetricSummary
    traced: MetricSummary
    files: MetricSummary
    max_concurrency: int
    measured_concurrency: int
    files_left: int
    tasks_left: list[str]
    errors: list[str]
    cpu: tuple[float, float]

    def thresholds(self) -> list[Threshold]:
        """Return the figures that have a threshold."""
        maximums: list[tuple[str, float, float, str]] = [
            ("problems of watches", len(self.check.problems), 0, ""),
            ("unfinished workers", self.workers_left, 0, ""),
            ("unfinished watches", self.watches - self.check.watches, 0, ""),
            ("maximum of open files", self.files.maximum, self.max_concurrency, ""),
            ("files left open", self.files_left, 0, ""),
            ("tasks left", len(self.tasks_left), 0, ""),
            ("errors and warnings", len(self.errors), 0, ""),
        ]
        if self.settings.seconds >= _MIN_SECONDS_FOR_GROWTH:
            maximums += [
                ("memory growth in the second half", 100 * self.memory.growth, _MAX_GROWTH, "%"),
                ("growth of allocated blocks", 100 * self.blocks.growth, _MAX_GROWTH, "%"),
            ]
            if self.traced.maximum:
                maximums.append(("growth of allocated bytes", 100 * self.traced.growth, _MAX_GROWTH, "%"))
        return [
            Threshold(
                name="concurrent requests after the run",
                value=self.measured_concurrency,
                limit=self.max_concurrency,
                unit="",
            ),
            *(
                Threshold(name=name, value=value, limit=limit, unit=unit, is_maximum=True)
                for name, value, limit, unit in maximums
            ),
        ]

    @property
    def problems(self) -> list[str]:
        """Descriptions of everything that is wrong; empty if the run passed."""
        return [
            *self.check.problems,
            *self.errors,
            *(f"a watch of {ref} did not end" for ref in self.unfinished),
            *(f"left task: {task}" for task in self.tasks_left),
            *(str(threshold) for threshold in self.thresholds() if not threshold.holds),
        ]


def format_report(report: Report) -> str:
    """Format the figures as a table, followed by the thresholds."""
    title = f"{report.settings.watches:,} concurrent watches for {report.settings.seconds:.0f} s"
    return "\n".join(
        [text_table(title, ["", ""], _rows(report)), *(str(threshold) for threshold in report.thresholds())]
    )


def _rows(report: Report) -> list[list[str]]:
    check, faults = report.check, report.faults
    client_cpu, server_cpu = (100 * seconds / report.elapsed for seconds in report.cpu)
    median, *_, p95 = statistics.quantiles(check.delays, n=20)[9:] if len(check.delays) > 1 else [0.0, 0.0]
    return [
        ["duration", f"{report.elapsed:.0f} s"],
        ["jobs watched until they ended", f"{len(check.ended):,}"],
        ["of them retried diffs", f"{check.retried:,}"],
        ["watches", f"{report.watches:,}"],
        ["of them ended by an API error, and restarted", f"{check.rejected:,}"],
        ["of them stale, and retried again", f"{check.stale:,}"],
        ["minimum of concurrent watches in the second half", f"{report.min_active:,}"],
        ["polls", f"{check.polls:,}"],
        ["requests with a fault", f"{faults.total():,}"],
        ["kinds of fault injected", f"{len(faults)} of {len(all_fault_kinds(report.settings.timeout))}"],
        ["faults of each kind", f"{min(faults.values(), default=0)} to {max(faults.values(), default=0)}"],
        ["servers killed", str(report.servers - 1)],
        ["detection delay, median", f"{median:.1f} s"],
        ["detection delay, 95th percentile", f"{p95:.1f} s"],
        ["detection delay, maximum", f"{max(check.delays, default=0.0):.1f} s"],
        ["CPU of the client", f"{client_cpu:.0f} %"],
        ["CPU of the servers", f"{server_cpu:.0f} %"],
        ["memory in the second half, MiB", _range_and_growth(report.memory, _MIB)],
        ["allocated blocks, thousands", _range_and_growth(report.blocks, 1000)],
        ["allocated bytes, MiB", _range_and_growth(report.traced, _MIB) if report.traced.maximum else "not traced"],
        ["open files of the client in the second half", f"{report.files.minimum:.0f} to {report.files.maximum:.0f}"],
    ]


def _range_and_growth(summary: MetricSummary, unit: float) -> str:
    minimum, maximum, rise = (figure / unit for figure in (summary.minimum, summary.maximum, summary.per_minute))
    return f"{minimum:.2f} to {maximum:.2f}, {rise:+.3f} a minute, {100 * summary.growth:+.2f} %"
