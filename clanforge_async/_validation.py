"""Checks of arguments at run time, for callers without a type checker."""

from __future__ import annotations

import math
import unicodedata
from typing import TypeGuard


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a number that fits a float. Infinity does; ``bool``, NaN and ``10**400`` do not."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return not math.isnan(value)
    except OverflowError:
        return False


def is_positive(value: object) -> TypeGuard[float]:
    """Whether a value is a finite number above 0."""
    return is_number(value) and 0 < value < math.inf


def positive_id(value: object, name: str = "id") -> int:
    """Return an id unchanged.

    Args:
        value: The id.
        name: Name of the argument, for the error.

    Raises:
        TypeError: The id is not an ``int``, or is a ``bool``.
        ValueError: The id is 0 or negative.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        msg = f"{name} must be an int, not {type(value).__name__}"
        raise TypeError(msg)
    if value < 1:
        msg = f"{name} must be positive, not {value}"
        raise ValueError(msg)
    return value


def flag(value: object, name: str) -> bool:
    """Return a flag unchanged.

    Raises:
        TypeError: The flag is not a ``bool``; 0 and 1 are not.
    """
    if not isinstance(value, bool):
        msg = f"{name} must be a bool, not {type(value).__name__}"
        raise TypeError(msg)
    return value


def text(value: object, name: str) -> str:
    """Return a text unchanged.

    Raises:
        TypeError: The text is not a ``str``.
        ValueError: The text is empty or blank, or contains a control character.
    """
    if not isinstance(value, str):
        msg = f"{name} must be a str, not {type(value).__name__}"
        raise TypeError(msg)
    if not value.strip():
        msg = f"{name} must not be blank"
        raise ValueError(msg)
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in value):
        msg = f"{name} must not contain control characters"
        raise ValueError(msg)
    return value
