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
