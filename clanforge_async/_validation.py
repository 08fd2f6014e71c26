"""What counts as a number of seconds or of requests, for callers who check no types."""

from __future__ import annotations

import math
from typing import TypeGuard


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a number, infinity included; ``bool`` is not taken for one."""
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def is_positive(value: object) -> TypeGuard[float]:
    """Whether a value is a number above 0, and finite."""
    return is_number(value) and 0 < value < math.inf


def positive_id(value: object, name: str = "id") -> int:
    """Return an id that the API could have given, unchanged.

    Raises:
        TypeError: It is not an ``int``; ``bool`` is not taken for one.
        ValueError: It is 0 or negative.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        msg = f"{name} must be an int, not {type(value).__name__}"
        raise TypeError(msg)
    if value < 1:
        msg = f"{name} must be positive, not {value}"
        raise ValueError(msg)
    return value
