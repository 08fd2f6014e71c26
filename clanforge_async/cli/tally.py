"""How many of what: the words for what becomes of jobs, and their counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

GRAVITY: tuple[str, ...] = (
    "failed",
    "squashed",
    "timeout",
    "error",
    "running",
    "queued",
    "pending",
    "created",
    "waiting",
    "unfinished",
    "completed",
)
"""All there are, what matters most first."""


def tally(words: Iterable[str]) -> str:
    """Return counts in a sentence's part, what matters most first: ``1 failed, 3 running, 2 completed``."""
    counts = Counter(words)
    known = [word for word in GRAVITY if word in counts]
    return ", ".join(f"{counts[word]} {word}" for word in dict.fromkeys([*known, *counts]))


def jobs(count: int) -> str:
    """Return a number of jobs in words."""
    return f"{count} job{'' if count == 1 else 's'}"
