"""Chart of costs over the lower bound: a row for each population, a dot for each strategy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from bench.charts import GRID_COLOR, OTHER_COLOR, OWN_COLOR, chart
from bench.simulated_watch import CostResult

_MARKERS = "osD^v"


def draw_costs(results: Sequence[CostResult], own: str, path: Path) -> None:
    """Write the chart as SVG.

    Args:
        results: The results, grouped by strategy.
        own: Name of the strategy to highlight.
        path: Path of the chart.
    """
    strategies = list(dict.fromkeys(result.strategy for result in results))
    populations = [
        name
        for name in dict.fromkeys(result.workload for result in results)
        if all(any(r.workload == name and r.strategy == strategy for r in results) for strategy in strategies)
    ]
    with chart(path) as axes:
        for strategy, marker in zip(strategies, _MARKERS, strict=False):
            costs = {result.workload: result.over_bound for result in results if result.strategy == strategy}
            axes.plot(
                [costs[name] for name in populations],
                range(len(populations)),
                marker,
                color=OWN_COLOR if strategy == own else OTHER_COLOR,
                markersize=8 if strategy == own else 5,
                label=strategy,
            )
        axes.set_title("Cost over that of a poller that knows when each job ends")
        axes.set_xlabel("times the lower bound")
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator([1, 2, 5, 10, 20]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:g}"))
        axes.set_xlim(left=1)
        axes.set_yticks(range(len(populations)), populations)
        axes.invert_yaxis()
        axes.grid(axis="both", color=GRID_COLOR, linewidth=0.6)
        axes.legend(loc="lower right", frameon=False)
