"""What a soak has found, and what is demanded of that."""

from __future__ import annotations

import statistics
from collections import Counter

from attrs import frozen
from bench.text_table import text_table
from bench.thresholds import Threshold

from soak.kinds import every_kind
from soak.samples import Trend
from soak.settings import Settings
from soak.verdict import Verdict

_MIB = 2**20
_MOST_GROWTH = 2.0
_LONG_ENOUGH = 120.0
"""Seconds from which on a soak tells anything of growth."""


@frozen(kw_only=True)
class Figures:
    """What a soak has found.

    Attributes:
        settings: What it was told.
        took: Seconds from its beginning to the end of the last watch.
        servers: How many servers there were, one after the other was killed.
        begun: How many watches there were.
        lanes_left: How many lanes had not come to their end when there was no sense in waiting any longer.
        unending: What was still watched then.
        least_under_way: The fewest at a time, in the second half.
        breakdowns: How often each kind of fault has befallen a request.
        verdict: Whether the watches have ended as they had to.
        resident: The memory of the client's process in the second half, in bytes.
        objects: The blocks that Python's objects take of it.
        traced: The bytes that they take; all 0 where nobody counts them.
        files: Its open files in the second half, less those that it had before.
        max_concurrency: How many requests the client may have in flight.
        most_in_flight: How many it could have in the end.
        files_left: Files that are open in the end and were not before.
        tasks_left: Tasks that are left in the end.
        complaints: What was complained of.
        cpu: CPU's seconds of the client's process, and of the servers'.
    """

    settings: Settings
    took: float
    servers: int
    begun: int
    lanes_left: int
    unending: list[str]
    least_under_way: int
    breakdowns: Counter[str]
    verdict: Verdict
    resident: Trend
    objects: Trend
    traced: Trend
    files: Trend
    max_concurrency: int
    most_in_flight: int
    files_left: int
    tasks_left: list[str]
    complaints: list[str]
    cpu: tuple[float, float]

    def thresholds(self) -> list[Threshold]:
        """Return what is demanded."""
        ceilings: list[tuple[str, float, float, str]] = [
            ("watches that ended wrong", len(self.verdict.wrong), 0, ""),
            ("lanes that did not come to their end", self.lanes_left, 0, ""),
            ("watches that did not end", self.begun - self.verdict.endings, 0, ""),
            ("most open files", self.files.most, self.max_concurrency, ""),
            ("files left", self.files_left, 0, ""),
            ("tasks left", len(self.tasks_left), 0, ""),
            ("complaints", len(self.complaints), 0, ""),
        ]
        if self.settings.seconds >= _LONG_ENOUGH:
            ceilings += [
                ("growth of the memory in the second half", 100 * self.resident.growth, _MOST_GROWTH, "%"),
                ("growth of the blocks that objects take", 100 * self.objects.growth, _MOST_GROWTH, "%"),
            ]
            if self.traced.most:
                ceilings.append(("growth of the bytes that objects take", 100 * self.traced.growth, _MOST_GROWTH, "%"))
        return [
            Threshold(
                name="requests in flight in the end", value=self.most_in_flight, limit=self.max_concurrency, unit=""
            ),
            *(
                Threshold(name=what, value=figure, limit=bar, unit=unit, is_maximum=True)
                for what, figure, bar, unit in ceilings
            ),
        ]

    @property
    def wrong(self) -> list[str]:
        """Everything that is not as it has to be, in words."""
        return [
            *self.verdict.wrong,
            *self.complaints,
            *(f"a watch of {ref} did not end" for ref in self.unending),
            *(f"left behind: {task}" for task in self.tasks_left),
            *(str(bar) for bar in self.thresholds() if not bar.holds),
        ]


def table(figures: Figures) -> str:
    """Return the figures as lines of text, with the bars."""
    title = f"{figures.settings.watches:,} watches at a time for {figures.settings.seconds:.0f} s"
    return "\n".join([text_table(title, ["", ""], _rows(figures)), *map(str, figures.thresholds())])


def _rows(figures: Figures) -> list[list[str]]:
    verdict, faults = figures.verdict, figures.breakdowns
    near, far = (100 * seconds / figures.took for seconds in figures.cpu)
    middle, *_, late = statistics.quantiles(verdict.notices, n=20)[9:] if len(verdict.notices) > 1 else [0.0, 0.0]
    return [
        ["took", f"{figures.took:.0f} s"],
        ["jobs seen to their ends", f"{len(verdict.seen):,}"],
        ["of them diffs that were retried first", f"{verdict.retried:,}"],
        ["watches", f"{figures.begun:,}"],
        ["of them ended by a refusal, and begun again", f"{verdict.refused:,}"],
        ["of them ended without news of a retry, and it was asked for again", f"{verdict.doubts:,}"],
        ["fewest under way in the second half, until lanes end", f"{figures.least_under_way:,}"],
        ["polls", f"{verdict.polls:,}"],
        ["requests that a fault befell", f"{faults.total():,}"],
        ["kinds of fault that were met", f"{len(faults)} of {len(every_kind(figures.settings.timeout))}"],
        ["times that each was met", f"{min(faults.values(), default=0)} to {max(faults.values(), default=0)}"],
        ["servers killed meanwhile", str(figures.servers - 1)],
        ["notice of an end, median", f"{middle:.1f} s"],
        ["notice of an end, 95th percentile", f"{late:.1f} s"],
        ["notice of an end, last", f"{max(verdict.notices, default=0.0):.1f} s"],
        ["CPU of the client", f"{near:.0f} %"],
        ["CPU of the servers", f"{far:.0f} %"],
        ["memory in the second half, MiB", _moved(figures.resident, _MIB)],
        ["objects' blocks, thousands", _moved(figures.objects, 1000)],
        ["objects' bytes, MiB", _moved(figures.traced, _MIB) if figures.traced.most else "not traced"],
        [
            "files that the client has open, in the second half",
            f"{figures.files.least:.0f} to {figures.files.most:.0f}",
        ],
    ]


def _moved(trend: Trend, unit: float) -> str:
    least, most, rise = (figure / unit for figure in (trend.least, trend.most, trend.per_minute))
    return f"{least:.2f} to {most:.2f}, {rise:+.3f} a minute, {100 * trend.growth:+.2f} %"
