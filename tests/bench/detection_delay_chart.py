"""Chart of the detection delay benchmark: requests against delay, for each strategy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from bench.charts import GRID_COLOR, NOTE_COLOR, OTHER_COLOR, OWN_COLOR, chart
from bench.detection_delay_results import Results
from bench.strategy_run import StrategyResult

_REQUESTS, _SECONDS = (8.0, 1500.0), (0.35, 60.0)
"""Ranges of the axes."""

_EQUAL_PRODUCTS = {1: "fixed polling's product", 2: "half of it", 4: "a quarter", 8: "an eighth", 16: "a sixteenth"}
"""Lines of equal product of requests and delay: how many times smaller it is than the product of fixed polling."""

_LABEL_REQUESTS = 8.3
"""Position of the lines' labels, in requests."""


def draw(results: Results, path: Path) -> None:
    """Write the chart as SVG."""
    with chart(path) as axes:
        _configure_axes(axes)
        _draw_equal_products(axes, results.fixed)
        _draw_other_strategies(axes, (*results.fixed, results.exponential))
        _draw_until_eta(axes, results)


def _configure_axes(axes: Axes) -> None:
    axes.set_title("Requests until the end of a job is detected")
    axes.set_xlabel("requests per job")
    axes.set_ylabel("mean detection delay, seconds")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(*_REQUESTS)
    axes.set_ylim(*_SECONDS)
    for axis, ticks in ((axes.xaxis, (10, 20, 50, 100, 200, 500, 1000)), (axes.yaxis, (0.5, 1, 2, 5, 10, 20, 50))):
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:g}"))
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())


def _draw_equal_products(axes: Axes, fixed: Sequence[StrategyResult]) -> None:
    mean_product = sum(result.product for result in fixed) / len(fixed)
    for times, label in _EQUAL_PRODUCTS.items():
        product = mean_product / times
        axes.plot(_REQUESTS, [product / requests for requests in _REQUESTS], color=GRID_COLOR, linewidth=0.8, zorder=1)
        _label_line(axes, label, _LABEL_REQUESTS, product / _LABEL_REQUESTS)


def _label_line(axes: Axes, label: str, requests: float, seconds: float) -> None:
    axes.text(
        requests,
        seconds,
        label,
        color=NOTE_COLOR,
        fontsize=8,
        verticalalignment="bottom",
        rotation=math.degrees(math.atan2(-seconds, requests)),
        rotation_mode="anchor",
        transform_rotates_text=True,
    )


def _draw_other_strategies(axes: Axes, others: Sequence[StrategyResult]) -> None:
    for other in others:
        axes.plot(other.requests, other.delay, "o", color=OTHER_COLOR, markersize=6)
        _label(axes, other, other.strategy, (8, 4), color=OTHER_COLOR)


def _draw_until_eta(axes: Axes, results: Results) -> None:
    settings, default = results.settings, results.default
    requests, delays = [result.requests for result in settings], [result.delay for result in settings]
    axes.plot(requests, delays, "o-", color=OWN_COLOR, markersize=4, linewidth=1.8)
    axes.plot(default.requests, default.delay, "o", color=OWN_COLOR, markersize=10)
    _label(axes, default, f"{default.strategy}, the default", (10, 5), color=OWN_COLOR, weight="bold")
    for end in (settings[0], settings[-1]):
        _label(axes, end, end.strategy, (8, 6), color=OWN_COLOR)


def _label(
    axes: Axes,
    at: StrategyResult,
    label: str,
    offset: tuple[float, float],
    *,
    color: str,
    weight: str = "normal",
) -> None:
    axes.annotate(
        label,
        (at.requests, at.delay),
        xytext=offset,
        textcoords="offset points",
        color=color,
        fontweight=weight,
    )
