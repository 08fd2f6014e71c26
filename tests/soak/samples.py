"""Samples of the client process's memory, files and watches, and the growth of each metric over time."""

from __future__ import annotations

import resource
import statistics
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import field, frozen


def process_memory() -> int:
    """Return the resident memory of this process in bytes."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()


def traced_memory() -> int:
    """Return the bytes allocated by Python objects, or 0 if `tracemalloc` is off."""
    return tracemalloc.get_traced_memory()[0]


def count_open_files() -> int:
    """Return the number of files and sockets that this process has open."""
    return sum(1 for _ in Path("/dev/fd").iterdir()) - 1  # without the handle of the listing itself


@frozen(kw_only=True)
class Sample:
    """Metrics of the client process at one moment.

    Attributes:
        at: Seconds since the start.
        active_watches: Number of watches.
        memory: Resident memory in bytes.
        blocks: Memory blocks allocated by Python objects, without large ones.
        traced: Bytes allocated by Python objects; 0 if `tracemalloc` is off.
        files: Number of open files and sockets.
    """

    at: float
    active_watches: int
    memory: int = field(factory=process_memory)
    blocks: int = field(factory=sys.getallocatedblocks)
    traced: int = field(factory=traced_memory)
    files: int = field(factory=count_open_files)


@frozen(kw_only=True)
class MetricSummary:
    """Statistics of a metric over time.

    Attributes:
        mean: Mean.
        minimum: Smallest value.
        maximum: Largest value.
        growth: Rise of the regression line from the first to the last sample, as a fraction of the mean.
        per_minute: Slope of the regression line per minute, in the metric's unit.
    """

    mean: float
    minimum: float
    maximum: float
    growth: float
    per_minute: float


def metric_summary(samples: Sequence[Sample], metric: Callable[[Sample], float]) -> MetricSummary:
    """Fit a regression line through a metric of at least one sample; a single sample has no growth."""
    values = [metric(sample) for sample in samples]
    times = [sample.at for sample in samples]
    slope = statistics.linear_regression(times, values).slope if len(values) > 1 else 0.0
    mean = statistics.fmean(values)
    return MetricSummary(
        mean=mean,
        minimum=min(values),
        maximum=max(values),
        growth=slope * (times[-1] - times[0]) / mean if mean else 0.0,
        per_minute=60 * slope,
    )
