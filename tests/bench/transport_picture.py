"""Polls a second against concurrency, as a picture."""

from __future__ import annotations

from pathlib import Path

from matplotlib.ticker import LogLocator

from bench.pictures import FAINT, INK, OURS, PEER, picture
from bench.transport_figures import Figures, Measurement

_COLOURS = (PEER, OURS, OURS, INK, OURS, OURS)
_STYLES = ("-", "-", "-", "--", ":", ":")
_LABEL_GAP = 0.05
"""How far above the next label below one stands, at the least, as a part of the way from the lowest rate to the top."""


def draw(figures: Figures, path: Path) -> None:
    """Write the picture as SVG."""
    lines = {name: figures.of(name) for name in figures.contenders}
    with picture(path) as axes:
        for line, colour, style in zip(lines.values(), _COLOURS, _STYLES, strict=False):
            rates = [point.polls_per_second for point in line]
            axes.plot(figures.concurrencies, rates, style, color=colour, marker="o", markersize=4)
        for (name, height), colour in zip(_label_heights(lines).items(), _COLOURS, strict=False):
            label = f"{name}  {lines[name][-1].polls_per_second:,.0f}"
            axes.text(figures.concurrencies[-1] * 1.07, height, label, color=colour, va="center")
        axes.set_title("Polls a second over loopback, one process")
        axes.set_xlabel("jobs polled at a time")
        axes.set_ylabel("polls per second")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(figures.concurrencies, [str(number) for number in figures.concurrencies])
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.minorticks_off()
        axes.grid(color=FAINT, linewidth=0.6)


def _label_heights(lines: dict[str, list[Measurement]]) -> dict[str, float]:
    """Return where each line's label stands: beside the line's end, but clear of the label below."""
    ends = {name: line[-1].polls_per_second for name, line in lines.items()}
    rates = [point.polls_per_second for line in lines.values() for point in line]
    gap = (max(rates) / min(rates)) ** _LABEL_GAP
    heights: dict[str, float] = {}
    free_from = 0.0
    for name in sorted(ends, key=ends.__getitem__):
        heights[name] = max(ends[name], free_from)
        free_from = heights[name] * gap
    return {name: heights[name] for name in lines}
