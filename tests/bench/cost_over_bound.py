"""Cost of each strategy on every population, divided by the cost of a poller that knows when each job completes.

The cost of a job is the delay until its end is detected, plus the number of its requests times the ``poll_worth`` of
`until_eta`. Populations whose names begin with "new" were made after `until_eta` was tuned.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from bench.cost_over_bound_chart import draw_costs
from bench.simulated_watch import CostResult, expected_cost
from bench.strategies import DEFAULT, EXPONENTIAL, FIXED_5, FIXED_30, Strategy
from bench.text_table import text_table
from bench.thresholds import Threshold
from bench.workloads import LONG_WAIT, LONG_WAIT_WITHOUT_ETA, MAIN, NEW, OTHERS, SHORT, Workload

__all__ = ["draw", "measure", "table"]

_SEED = 20251122
_JOBS, _OTHERS_JOBS = 800, 60
"""Number of jobs of each population with `until_eta`, and with the other strategies, which make more polls."""

_QUICK_SHARE = 0.1


@frozen(kw_only=True)
class Results:
    """Results.

    Attributes:
        until_eta: The default strategy on each population, then on the two populations used only for the thresholds.
        others: The other strategies on each population.
    """

    until_eta: tuple[CostResult, ...]
    others: tuple[CostResult, ...]

    def thresholds(self) -> tuple[Threshold, ...]:
        """Return the thresholds of the default."""
        results = {result.workload: result for result in self.until_eta}
        main, short = results[MAIN.name], results[SHORT.name]
        waits = [(results[LONG_WAIT.name], 20), (results[LONG_WAIT_WITHOUT_ETA.name], 30)]
        return (
            _at_most("cost over the bound, main", main.over_bound, 1.25, "x"),
            _at_most("cost over the bound, short jobs", short.over_bound, 1.75, "x"),
            _at_most("delay of completed jobs, main", main.delay_completed, 0.45, "s"),
            *(_at_most(f"requests, {result.workload}", result.requests, limit, "") for result, limit in waits),
            *(_at_most(f"95th percentile, {result.workload}", result.delay_p95, 15, "s") for result, _ in waits),
        )


def _at_most(name: str, value: float, limit: float, unit: str) -> Threshold:
    return Threshold(name=name, value=value, limit=limit, unit=unit, is_maximum=True)


def measure(quick: bool) -> Results:
    """Run all strategies on all populations."""
    share = _QUICK_SHARE if quick else 1.0
    populations = (MAIN, *OTHERS, *NEW)
    return Results(
        until_eta=tuple(
            _run(DEFAULT, workload, share * _JOBS) for workload in (*populations, LONG_WAIT, LONG_WAIT_WITHOUT_ETA)
        ),
        others=tuple(
            _run(other, workload, share * _OTHERS_JOBS)
            for other in (FIXED_5, FIXED_30, EXPONENTIAL)
            for workload in populations
        ),
    )


def _run(strategy: Strategy, workload: Workload, number: float) -> CostResult:
    jobs = workload.jobs(_SEED, max(int(number), 2))
    return expected_cost(jobs, strategy.interval, failing=workload.failing, names=(strategy.name, workload.name))


def table(results: Results) -> str:
    """Format the results of all populations, and the thresholds."""
    rows = [_row(result, results.others) for result in results.until_eta]
    columns = ["population", "requests", "delay, s", "completed", "95th", "cost, s", "x bound", *_names(results)]
    title = "Cost of until_eta() over the lower bound, and of the other strategies"
    return "\n".join([text_table(title, columns, rows), *map(str, results.thresholds())])


def _names(results: Results) -> list[str]:
    return list(dict.fromkeys(result.strategy for result in results.others))


def _row(result: CostResult, others: Sequence[CostResult]) -> list[str]:
    return [
        result.workload,
        f"{result.requests:.1f}",
        f"{result.delay:.2f}",
        f"{result.delay_completed:.2f}",
        f"{result.delay_p95:.1f}",
        f"{result.cost:.2f}",
        f"{result.over_bound:.2f}",
        *(f"{other.over_bound:.2f}" for other in others if other.workload == result.workload),
    ]


def draw(results: Results, path: Path) -> None:
    """Write the chart as SVG."""
    draw_costs((*results.until_eta, *results.others), DEFAULT.name, path)
