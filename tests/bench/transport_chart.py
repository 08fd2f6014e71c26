"""Chart of the transport benchmark: polls per second against concurrency."""

from __future__ import annotations

from pathlib import Path

from matplotlib.ticker import LogLocator

from bench.charts import GRID_COLOR, OTHER_COLOR, OWN_COLOR, TEXT_COLOR, chart
from bench.transport_results import Measurement, Results

_COLORS = (OTHER_COLOR, OWN_COLOR, OWN_COLOR, TEXT_COLOR, OWN_COLOR, OWN_COLOR)
_STYLES = ("-", "-", "-", "--", ":", ":")
_MIN_LABEL_GAP = 0.05
"""Minimum distance between two labels, as a fraction of the logarithmic axis."""


def draw(results: Results, path: Path) -> None:
    """Write the chart as SVG."""
    lines = {name: results.of(name) for name in results.methods}
    with chart(path) as axes:
        for line, color, style in zip(lines.values(), _COLORS, _STYLES, strict=False):
            rates = [point.polls_per_second for point in line]
            axes.plot(results.concurrencies, rates, style, color=color, marker="o", markersize=4)
        for (name, position), color in zip(_label_positions(lines).items(), _COLORS, strict=False):
            label = f"{name}  {lines[name][-1].polls_per_second:,.0f}"
            axes.text(results.concurrencies[-1] * 1.07, position, label, color=color, va="center")
        axes.set_title("Polls per second over loopback, one process")
        axes.set_xlabel("jobs polled at a time")
        axes.set_ylabel("polls per second")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(results.concurrencies, [str(number) for number in results.concurrencies])
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.minorticks_off()
        axes.grid(color=GRID_COLOR, linewidth=0.6)


def _label_positions(lines: dict[str, list[Measurement]]) -> dict[str, float]:
    """Return the position of each label: beside its line's end, without overlapping the label below."""
    ends = {name: line[-1].polls_per_second for name, line in lines.items()}
    rates = [point.polls_per_second for line in lines.values() for point in line]
    gap = (max(rates) / min(rates)) ** _MIN_LABEL_GAP
    positions: dict[str, float] = {}
    lowest_free = 0.0
    for name in sorted(ends, key=ends.__getitem__):
        positions[name] = max(ends[name], lowest_free)
        lowest_free = positions[name] * gap
    return {name: positions[name] for name in lines}
