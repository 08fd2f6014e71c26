"""Thresholds that results must reach or must not exceed."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class Threshold:
    """A measured value and its limit.

    Attributes:
        name: Name of the value.
        value: The measured value.
        limit: Minimum, or maximum, of the value.
        unit: Unit of both.
        is_maximum: Whether the limit is a maximum.
    """

    name: str
    value: float
    limit: float
    unit: str
    is_maximum: bool = False

    @property
    def holds(self) -> bool:
        """Whether the value is within its limit."""
        return self.value <= self.limit if self.is_maximum else self.value >= self.limit

    def __str__(self) -> str:
        verdict = "holds" if self.holds else "FAILS"
        side = "at most" if self.is_maximum else "at least"
        return f"{self.name}: {self.value:.3g} {self.unit} (required: {side} {self.limit:g} {self.unit}): {verdict}"
