"""What the notice benchmark has measured, and what is demanded of it."""

from __future__ import annotations

from attrs import frozen

from bench.bars import Bar
from bench.strategies import DEFAULT
from bench.watching import Notice


@frozen(kw_only=True)
class Comparison:
    """The default beside a fixed interval, on a population other than the main one.

    Attributes:
        workload: The population, by its name.
        fixed: How the fixed interval has done.
        ours: How the default has done.
    """

    workload: str
    fixed: Notice
    ours: Notice


@frozen(kw_only=True)
class Figures:
    """All that is measured; where nothing else is said, on the main population.

    Attributes:
        fixed: The fixed intervals, from the shortest to the longest.
        exponential: The pauses that double.
        settings: `until_eta` from many polls to few, the default in their midst.
        others: The other populations.
    """

    fixed: tuple[Notice, ...]
    exponential: Notice
    settings: tuple[Notice, ...]
    others: tuple[Comparison, ...]

    @property
    def default(self) -> Notice:
        """How `until_eta` has done when it is told nothing."""
        return next(notice for notice in self.settings if notice.strategy == DEFAULT.name)

    def bars(self) -> tuple[Bar, ...]:
        """Return what the default is held to."""
        late = self.default.late_delay
        return (
            *(self._lead_over(notice, 6.5) for notice in self.fixed),
            self._lead_over(self.exponential, 9),
            Bar(what="95th percentile of the delay", figure=late, bar=12, unit="s", is_ceiling=True),
        )

    def _lead_over(self, other: Notice, bar: float) -> Bar:
        return Bar(what=f"product against {other.strategy}", figure=lead(self.default, other), bar=bar, unit="x")


def lead(ours: Notice, other: Notice) -> float:
    """Return how many times our product goes into that of another way of polling."""
    return other.product / ours.product
