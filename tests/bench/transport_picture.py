"""Polls a second against concurrency, as a picture."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from bench.transport_figures import Figures, Measurement

_COLOURS = ("#7f7f7f", "#1f77b4", "#d62728", "#2b2b2b", "#1f77b4", "#d62728")
_STYLES = ("--", "-", "-", "--", ":", ":")
_LABEL_GAP = 0.055
"""How far above the next label below one stands, at the least, as a part of the way from the lowest rate to the top."""


def draw(figures: Figures, path: Path) -> None:
    """Write the picture of polls per second against concurrency, as SVG or whatever the path's suffix names."""
    lines = {name: figures.of(name) for name in figures.contenders}
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "transports", "font.size": 10.0}):
        figure = Figure(figsize=(8, 4.5), facecolor="white", layout="constrained")
        axes = figure.subplots()
        for (name, line), colour, style in zip(lines.items(), _COLOURS, _STYLES, strict=False):
            rates = [point.polls_per_second for point in line]
            axes.plot(figures.concurrencies, rates, style, color=colour, marker="o", markersize=4, label=name)
        for (name, height), colour in zip(_label_heights(lines).items(), _COLOURS, strict=False):
            text = f"{name}  {lines[name][-1].polls_per_second:,.0f}"
            axes.text(figures.concurrencies[-1] * 1.07, height, text, color=colour, va="center")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(figures.concurrencies, [str(number) for number in figures.concurrencies])
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.minorticks_off()
        axes.set_xlabel("jobs polled at a time")
        axes.set_title("Polls a second over loopback, one process", loc="left")
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


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
