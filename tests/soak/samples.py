"""What the client's process holds, looked at again and again, and whether that grows."""

from __future__ import annotations

import resource
import statistics
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import field, frozen


def resident_memory() -> int:
    """Return the bytes of memory that this process has."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()


def traced_memory() -> int:
    """Return the bytes that Python's objects take, if `tracemalloc` has been told to count them."""
    return tracemalloc.get_traced_memory()[0]


def open_files() -> int:
    """Return how many files and sockets this process has open."""
    return sum(1 for _ in Path("/dev/fd").iterdir()) - 1  # less the one that is open for looking


@frozen(kw_only=True)
class Sample:
    """What a process holds at a moment.

    Attributes:
        at: When, in seconds from the beginning.
        under_way: How many watches there are.
        resident: Bytes of memory that the system has given it.
        objects: Blocks of memory that Python's objects take, large ones aside.
        traced: Bytes that they take; 0 where `tracemalloc` does not count them.
        files: How many files and sockets are open.
    """

    at: float
    under_way: int
    resident: int = field(factory=resident_memory)
    objects: int = field(factory=sys.getallocatedblocks)
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
    """Fit a line through a figure of some samples; through that of one, a level one."""
    values = [figure(sample) for sample in samples]
    moments = [sample.at for sample in samples]
    slope = statistics.linear_regression(moments, values).slope if len(values) > 1 else 0.0
    mean = statistics.fmean(values)
    return Trend(
        mean=mean,
        least=min(values),
        most=max(values),
        growth=slope * (moments[-1] - moments[0]) / mean if mean else 0.0,
        per_minute=60 * slope,
    )
