"""What the client's process holds, looked at again and again, and whether that grows."""

from __future__ import annotations

import os
import resource
import statistics
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import field, frozen


def resident_memory() -> int:
    """Return the bytes of memory that this process has."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()


def traced_memory() -> int:
    """Return the bytes that Python's objects take, as far as `tracemalloc` has been told to count them."""
    return tracemalloc.get_traced_memory()[0]


def open_files() -> int:
    """Return how many files and sockets this process has open."""
    return len(os.listdir("/dev/fd")) - 1  # less the one that is open for looking


@frozen(kw_only=True)
class Sample:
    """What a process holds at a moment.

    Attributes:
        at: When, in seconds from the beginning.
        under_way: How many watches there are.
        resident: Bytes of memory that the system has given it.
        traced: Bytes that Python's objects take.
        files: How many files and sockets are open.
    """

    at: float
    under_way: int
    resident: int = field(factory=resident_memory)
    traced: int = field(factory=traced_memory)
    files: int = field(factory=open_files)


@frozen(kw_only=True)
class Trend:
    """How a figure has moved.

    Attributes:
        mean: Its mean.
        least: Its least.
        most: Its most.
        growth: What the line through it rises by from its first sample to its last, as a part of the mean.
        per_minute: The same per minute, in its own unit.
    """

    mean: float
    least: float
    most: float
    growth: float
    per_minute: float


def trend(samples: Sequence[Sample], figure: Callable[[Sample], float]) -> Trend:
    """Fit a line through a figure of at least two samples."""
    values = [figure(sample) for sample in samples]
    moments = [sample.at for sample in samples]
    slope, _ = statistics.linear_regression(moments, values)
    mean = statistics.fmean(values)
    return Trend(
        mean=mean,
        least=min(values),
        most=max(values),
        growth=slope * (moments[-1] - moments[0]) / mean if mean else 0.0,
        per_minute=60 * slope,
    )
