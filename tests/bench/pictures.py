"""How the pictures look, and how they are written: the same bytes for the same figures."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, QUIET, FAINT = "#1f2328", "#6e7781", "#d0d7de"
"""The colours of text, of remarks, and of guides."""

OURS, PEER = "#0b6e4f", "#b3541e"
"""The colours of this package, and of what it is compared with."""

_STYLE: dict[Any, Any] = {
    "axes.edgecolor": "#8c959f",
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "sans-serif"],
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "clanforge-async",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@contextmanager
def picture(path: Path) -> Generator[Axes]:
    """Give axes to draw on, and write them when that is done.

    The background is white, also where the page is dark.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8, 5), layout="constrained", facecolor="white")
        FigureCanvasSVG(figure)
        yield figure.add_subplot()
        figure.savefig(path, format="svg", metadata={"Date": None})
