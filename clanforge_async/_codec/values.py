"""JSON values -> Python values. The server sends numbers as text and text as numbers.

Parsing is lenient if the meaning is certain and strict otherwise. The functions raise a `ValueError` without a message
or the exception of the conversion: the error of the whole object names the field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

from clanforge_async._codec.masking import mask_secrets
from clanforge_async._validation import positive_id
from clanforge_async.refs import EPOCH

T = TypeVar("T")
U = TypeVar("U")

_INTEGER = re.compile(r"\s*([+-]?[0-9]+)(?:\.0*)?\s*", re.ASCII)
_FLAGS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def parse_int(value: object) -> int:
    """Parse an integer, also from text or an integral float."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and (match := _INTEGER.fullmatch(value)):
        return int(match[1])
    raise ValueError


def parse_id(value: object) -> int:
    """Parse a positive integer."""
    return positive_id(parse_int(value))


def is_no_id(value: object) -> bool:
    """Whether a value means that there is no id: null, blank, or 0, which servers in typed languages send."""
    return value in (None, "", "0", 0) and value is not False


def parse_optional_id(value: object) -> int | None:
    """Parse a positive integer; None if there is no id."""
    return None if is_no_id(value) else parse_id(value)


def parse_count(value: object) -> int:
    """Parse a number of events; a flag counts as 0 or 1."""
    # One documentation page describes `jobfailed` as a flag, another as the number of failures.
    try:
        return parse_int(value)
    except ValueError:
        return int(parse_bool(value))


def parse_percentage(value: object) -> int:
    """Parse an integer and clamp it to 0..100."""
    return min(max(parse_int(value), 0), 100)


def parse_time(value: object) -> datetime:
    """Parse Unix seconds."""
    return EPOCH + timedelta(seconds=parse_int(value))


def parse_text(value: object) -> str:
    """Parse text, also from a number."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError


def parse_masked_text(value: object) -> str | None:
    """Parse text that may contain a source URL, and mask its secrets; null is None."""
    return None if value is None else mask_secrets(parse_text(value))


def parse_bool(value: object) -> bool:
    """Parse a flag, such as true, 1 or "yes"."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower().removesuffix(".0")
    if isinstance(value, int | float | str) and text in _FLAGS:
        return _FLAGS[text]
    raise ValueError


def parse_success(value: object) -> bool:
    """Parse the flag ``success``; null is true."""
    return True if value is None else parse_bool(value)


def parse_mapping(value: object) -> Mapping[str, Any]:
    """Parse an object; null is an empty one."""
    # Servers that do not distinguish lists from maps send an empty map as a list.
    if value is None or value == []:
        return {}
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value)
    raise ValueError


def parse_masked_mapping(value: object) -> Mapping[str, Any]:
    """Parse an object whose texts, at any depth, may be source URLs, and mask their secrets; null is an empty one."""
    try:
        return {name: _mask_texts(item) for name, item in parse_mapping(value).items()}
    except RecursionError:
        raise ValueError from None


def _mask_texts(value: object) -> object:
    if isinstance(value, str):
        return mask_secrets(value)
    if isinstance(value, Mapping):
        return {name: _mask_texts(item) for name, item in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list):
        return [_mask_texts(item) for item in cast("list[object]", value)]
    return value


def optional(parse: Callable[[object], T]) -> Callable[[object], T | None]:
    """Return a parser that accepts null and blank text as None."""

    def parse_optional(value: object) -> T | None:
        is_absent = value is None or (isinstance(value, str) and not value.strip())
        return None if is_absent else parse(value)

    return parse_optional


def parse_or_default(parse: Callable[[object], T], value: object, default: U) -> T | U:
    """Parse a value, or return a default if it is malformed."""
    try:
        return parse(value)
    except (ValueError, TypeError, OverflowError):
        return default
