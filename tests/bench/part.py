"""The shape of a benchmark's parts. A part is a module with these functions."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

Figures = TypeVar("Figures")
"""A frozen attrs class that ``attrs.asdict`` turns into what JSON can hold."""


class Part(Protocol[Figures]):
    """Something that is measured."""

    def measure(self, quick: bool) -> Figures:
        """Measure it, in seconds instead of minutes and less precisely if it has to be quick."""
        ...

    def table(self, figures: Figures) -> str:
        """Return the figures as lines of text, with the bars and whether they hold."""
        ...


@runtime_checkable
class Drawn(Part[Figures], Protocol[Figures]):
    """Something that is measured and has a picture."""

    def draw(self, figures: Figures, path: Path) -> None:
        """Write the picture as SVG, the same bytes for the same figures."""
        ...
