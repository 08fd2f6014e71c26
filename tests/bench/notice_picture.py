"""The picture of what polling costs: requests against delay, for each way of polling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from bench.notice_figures import Figures
from bench.pictures import FAINT, OURS, PEER, QUIET, picture
from bench.watching import Notice

_REQUESTS, _SECONDS = (8.0, 1500.0), (0.35, 60.0)
"""What the axes span."""

_GUIDES = {1: "fixed polling's product", 2: "half of it", 4: "a quarter", 8: "an eighth", 16: "a sixteenth"}
"""How many times below fixed polling's product."""

_LABELS_FROM = 8.3
"""The requests at which the guides' labels begin, beside the upright axis."""


def draw(figures: Figures, path: Path) -> None:
    """Write the picture as SVG."""
    with picture(path) as axes:
        _prepare(axes)
        _guide(axes, figures.fixed)
        _draw_peers(axes, (*figures.fixed, figures.exponential))
        _draw_ours(axes, figures)


def _prepare(axes: Axes) -> None:
    axes.set_title("What it takes to notice that a job has ended")
    axes.set_xlabel("requests per job")
    axes.set_ylabel("mean delay until the end is noticed, seconds")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(*_REQUESTS)
    axes.set_ylim(*_SECONDS)
    for axis, ticks in ((axes.xaxis, (10, 20, 50, 100, 200, 500, 1000)), (axes.yaxis, (0.5, 1, 2, 5, 10, 20, 50))):
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:g}"))
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())


def _guide(axes: Axes, fixed: Sequence[Notice]) -> None:
    whole = sum(notice.product for notice in fixed) / len(fixed)
    for times, label in _GUIDES.items():
        product = whole / times
        axes.plot(_REQUESTS, [product / requests for requests in _REQUESTS], color=FAINT, linewidth=0.8, zorder=1)
        _write_along(axes, label, _LABELS_FROM, product / _LABELS_FROM)


def _write_along(axes: Axes, label: str, requests: float, seconds: float) -> None:
    axes.text(
        requests,
        seconds,
        label,
        color=QUIET,
        fontsize=8,
        verticalalignment="bottom",
        rotation=math.degrees(math.atan2(-seconds, requests)),
        rotation_mode="anchor",
        transform_rotates_text=True,
    )


def _draw_peers(axes: Axes, peers: Sequence[Notice]) -> None:
    for peer in peers:
        axes.plot(peer.requests, peer.delay, "o", color=PEER, markersize=6)
        _label(axes, peer, peer.strategy, (8, 4), color=PEER)


def _draw_ours(axes: Axes, figures: Figures) -> None:
    settings, default = figures.settings, figures.default
    requests, delays = [row.requests for row in settings], [row.delay for row in settings]
    axes.plot(requests, delays, "o-", color=OURS, markersize=4, linewidth=1.8)
    axes.plot(default.requests, default.delay, "o", color=OURS, markersize=10)
    _label(axes, default, f"{default.strategy}, the default", (10, 5), color=OURS, weight="bold")
    for end in (settings[0], settings[-1]):
        _label(axes, end, end.strategy, (8, 6), color=OURS)


def _label(
    axes: Axes,
    at: Notice,
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
