"""Protocol of a benchmark: a module with these functions."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

Results = TypeVar("Results")
"""A frozen attrs class that ``attrs.asdict`` converts to JSON values."""


class Benchmark(Protocol[Results]):
    """A benchmark."""

    def measure(self, quick: bool) -> Results:
        """Measure for some minutes; if quick, for some seconds and less precisely."""
        ...

    def table(self, results: Results) -> str:
        """Format the results as text, with the thresholds."""
        ...


@runtime_checkable
class ChartedBenchmark(Benchmark[Results], Protocol[Results]):
    """A benchmark with a chart."""

    def draw(self, results: Results, path: Path) -> None:
        """Write the chart as SVG. The same results give the same bytes."""
        ...
