"""What is demanded of a figure, and whether it holds."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class Bar:
    """A figure beside its bar.

    Attributes:
        what: What the figure is of.
        figure: What was measured.
        bar: What it must reach, or must not exceed.
        unit: Of both.
        is_ceiling: Whether it must not be exceeded.
    """

    what: str
    figure: float
    bar: float
    unit: str
    is_ceiling: bool = False

    @property
    def holds(self) -> bool:
        """Whether the figure is as it must be."""
        return self.figure <= self.bar if self.is_ceiling else self.figure >= self.bar

    def __str__(self) -> str:
        verdict = "holds" if self.holds else "FAILS"
        side = "at most" if self.is_ceiling else "at least"
        return f"{self.what}: {self.figure:.3g} {self.unit} (bar: {side} {self.bar:g} {self.unit}): {verdict}"
