"""Durations as people write and read them."""

from __future__ import annotations

import itertools
import math
import re

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_WRITTEN = re.compile("".join(rf"(?:(?P<{unit}>[0-9]+(?:\.[0-9]+)?){unit})?\s*" for unit in _UNITS), re.ASCII)


def seconds_of(text: str) -> float:
    """Read ``90m``, ``1h30m``, ``45s``, or a plain number of seconds.

    Raises:
        ValueError: The text is none of these, or no time passes in it.
    """
    written = _WRITTEN.fullmatch(text.strip())
    try:
        parts = {} if written is None else {unit: float(count) for unit, count in written.groupdict().items() if count}
        seconds = sum(count * _UNITS[unit] for unit, count in parts.items()) if parts else float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        msg = f"{text!r} is not a duration such as 45s, 90m, 1h30m or a positive number of seconds"
        raise ValueError(msg)
    return seconds


def brief_duration(seconds: float) -> str:
    """Return a duration in its two greatest units: ``12s``, ``3m05s``, ``1h30m``, ``2d04h``."""
    whole = max(0, round(seconds))
    for great, small in itertools.pairwise(_UNITS):
        if whole >= _UNITS[great]:
            count, rest = divmod(whole, _UNITS[great])
            return f"{count}{great}{rest // _UNITS[small]:02}{small}"
    return f"{whole}s"


def rough_duration(seconds: float) -> str:
    """Return a duration in its greatest unit alone: ``12s``, ``3m``, ``1h``."""
    whole = max(0, round(seconds))
    unit = next((unit for unit, length in _UNITS.items() if whole >= length), "s")
    return f"{whole // _UNITS[unit]}{unit}"
