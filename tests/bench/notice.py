"""How many requests a job costs and how soon its end is noticed, for each way of polling.

Planned jobs are watched by the real watcher through the real client, in virtual time, so that the figures are the
same on every machine. An answer takes 50 ms, and each job is watched from its creation on.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from bench.notice_figures import Comparison, Figures, lead
from bench.notice_picture import draw
from bench.strategies import DEFAULT, EXPONENTIAL, FIXED, FIXED_5, SETTINGS, Strategy
from bench.tables import text
from bench.watching import Notice, notice
from bench.workloads import MAIN, OTHERS, Workload

__all__ = ["draw", "measure", "table"]

_SEED = 20251122
_PART_WHEN_QUICK = 0.1
_PART_ON_OTHERS = 0.2
"""Of a strategy's jobs: the other populations are there to be looked at, not to be held to a bar."""


def measure(quick: bool) -> Figures:
    """Measure every way of polling on the main population, and the default on the others too."""
    part = _PART_WHEN_QUICK if quick else 1.0
    on_main = partial(_on, MAIN, part)
    return Figures(
        fixed=tuple(map(on_main, FIXED)),
        exponential=on_main(EXPONENTIAL),
        settings=tuple(map(on_main, SETTINGS)),
        others=tuple(_compared(workload, part * _PART_ON_OTHERS) for workload in OTHERS),
    )


def _on(workload: Workload, part: float, strategy: Strategy) -> Notice:
    return notice(workload.jobs(_SEED, max(int(strategy.jobs * part), 2)), strategy)


def _compared(workload: Workload, part: float) -> Comparison:
    fixed, ours = _on(workload, part, FIXED_5), _on(workload, part, DEFAULT)
    return Comparison(workload=workload.name, fixed=fixed, ours=ours)


def table(figures: Figures) -> str:
    """Return the figures of both kinds of population, and the bars."""
    return "\n".join([_main_table(figures), _others_table(figures), *map(str, figures.bars())])


def _main_table(figures: Figures) -> str:
    rows = [
        [row.strategy, str(row.jobs), *_numbers(row), f"{lead(figures.default, row):.2f}"]
        for row in (*figures.fixed, figures.exponential, *figures.settings)
    ]
    columns = ["polling", "jobs", "requests/job", "mean delay, s", "95th percentile, s", "product", "x until_eta()"]
    return text("Requests and delay on the main population", columns, rows)


def _others_table(figures: Figures) -> str:
    rows = [_other_row(comparison.workload, comparison.fixed, comparison.ours) for comparison in figures.others]
    columns = ["population", "fixed 5 s", "", "", "", "until_eta()", "", "", "", "x"]
    return text("The same on other populations", columns, rows)


def _other_row(workload: str, fixed: Notice, ours: Notice) -> Sequence[str]:
    return [workload, *_numbers(fixed), *_numbers(ours), f"{lead(ours, fixed):.2f}"]


def _numbers(row: Notice) -> list[str]:
    return [f"{row.requests:.1f}", f"{row.delay:.2f}", f"{row.late_delay:.1f}", f"{row.product:.0f}"]
