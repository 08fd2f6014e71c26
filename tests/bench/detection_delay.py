"""Requests per job, and the delay until a job's end is detected, for each polling strategy.

The real watcher and client poll simulated jobs in virtual time, so that the results are the same on every machine. A
response takes 50 ms, and each job is watched from its creation on.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from bench.detection_delay_chart import draw
from bench.detection_delay_results import Comparison, Results, gain
from bench.strategies import DEFAULT, EXPONENTIAL, FIXED, FIXED_5, SETTINGS, Strategy
from bench.strategy_run import StrategyResult, run_strategy
from bench.text_table import text_table
from bench.workloads import MAIN, OTHERS, Workload

__all__ = ["draw", "measure", "table"]

_SEED = 20251122
_QUICK_SHARE = 0.1
_OTHERS_SHARE = 0.2
"""Number of jobs of each other population, as a share of the strategy's jobs. These populations have no thresholds."""


def measure(quick: bool) -> Results:
    """Run all strategies on the main population, and the default and a fixed interval on the others."""
    share = _QUICK_SHARE if quick else 1.0
    on_main = partial(_run, MAIN, share)
    return Results(
        fixed=tuple(map(on_main, FIXED)),
        exponential=on_main(EXPONENTIAL),
        settings=tuple(map(on_main, SETTINGS)),
        others=tuple(_compare(workload, share * _OTHERS_SHARE) for workload in OTHERS),
    )


def _run(workload: Workload, share: float, strategy: Strategy) -> StrategyResult:
    return run_strategy(workload.jobs(_SEED, max(int(strategy.jobs * share), 2)), strategy)


def _compare(workload: Workload, share: float) -> Comparison:
    fixed, default = _run(workload, share, FIXED_5), _run(workload, share, DEFAULT)
    return Comparison(workload=workload.name, fixed=fixed, default=default)


def table(results: Results) -> str:
    """Format the results of all populations, and the thresholds."""
    return "\n".join([_main_table(results), _others_table(results), *map(str, results.thresholds())])


def _main_table(results: Results) -> str:
    rows = [
        [result.strategy, str(result.jobs), *_numbers(result), f"{gain(results.default, result):.2f}"]
        for result in (*results.fixed, results.exponential, *results.settings)
    ]
    columns = ["strategy", "jobs", "requests/job", "mean delay, s", "95th percentile, s", "product", "x until_eta()"]
    return text_table("Requests and detection delay on the main population", columns, rows)


def _others_table(results: Results) -> str:
    rows = [_other_row(comparison.workload, comparison.fixed, comparison.default) for comparison in results.others]
    columns = ["population", "fixed 5 s", "", "", "", "until_eta()", "", "", "", "x"]
    return text_table("The same on other populations", columns, rows)


def _other_row(workload: str, fixed: StrategyResult, default: StrategyResult) -> Sequence[str]:
    return [workload, *_numbers(fixed), *_numbers(default), f"{gain(default, fixed):.2f}"]


def _numbers(result: StrategyResult) -> list[str]:
    return [f"{result.requests:.1f}", f"{result.delay:.2f}", f"{result.delay_p95:.1f}", f"{result.product:.0f}"]
