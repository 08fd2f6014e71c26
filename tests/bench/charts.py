"""Style of the charts, and the function that writes them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

TEXT_COLOR, NOTE_COLOR, GRID_COLOR = "#1f2328", "#6e7781", "#d0d7de"
OWN_COLOR, OTHER_COLOR = "#0b6e4f", "#b3541e"
"""Colors of this package, and of the libraries and strategies that it is compared with."""

_STYLE: dict[Any, Any] = {
    "axes.edgecolor": "#8c959f",
    "axes.labelcolor": TEXT_COLOR,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "sans-serif"],
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "clanforge-async",
    "text.color": TEXT_COLOR,
    "xtick.color": TEXT_COLOR,
    "ytick.color": TEXT_COLOR,
}


@contextmanager
def chart(path: Path) -> Generator[Axes]:
    """Yield axes to draw on, then write them as SVG. The same drawing gives the same bytes.

    The background is white, even on a dark page.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8, 5), layout="constrained", facecolor="white")
        FigureCanvasSVG(figure)
        yield figure.add_subplot()
        figure.savefig(path, format="svg", metadata={"Date": None})
