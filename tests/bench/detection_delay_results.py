"""Results of the detection delay benchmark, and their thresholds."""

from __future__ import annotations

from attrs import frozen

from bench.strategies import DEFAULT
from bench.strategy_run import StrategyResult
from bench.thresholds import Threshold


@frozen(kw_only=True)
class Comparison:
    """The default and a fixed interval on another population.

    Attributes:
        workload: Name of the population.
        fixed: Result of the fixed interval.
        default: Result of the default.
    """

    workload: str
    fixed: StrategyResult
    default: StrategyResult


@frozen(kw_only=True)
class Results:
    """Results, on the main population unless another is named.

    Attributes:
        fixed: Fixed intervals, from the shortest to the longest.
        exponential: Pauses that double.
        settings: `until_eta` from many polls to few, with the default in between.
        others: Results on the other populations.
    """

    fixed: tuple[StrategyResult, ...]
    exponential: StrategyResult
    settings: tuple[StrategyResult, ...]
    others: tuple[Comparison, ...]

    @property
    def default(self) -> StrategyResult:
        """Result of `until_eta` with its default arguments."""
        return next(result for result in self.settings if result.strategy == DEFAULT.name)

    def thresholds(self) -> tuple[Threshold, ...]:
        """Return the thresholds of the default."""
        p95 = self.default.delay_p95
        return (
            *(self._gain_over(result, 6.5) for result in self.fixed),
            self._gain_over(self.exponential, 9),
            Threshold(name="95th percentile of the delay", value=p95, limit=12, unit="s", is_maximum=True),
        )

    def _gain_over(self, other: StrategyResult, limit: float) -> Threshold:
        return Threshold(
            name=f"product against {other.strategy}", value=gain(self.default, other), limit=limit, unit="x"
        )


def gain(ours: StrategyResult, other: StrategyResult) -> float:
    """Return the product of another strategy, divided by ours."""
    return other.product / ours.product
