"""States of earlier polls as plain data for JSON: short, since an engine stores them at every poll."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Iterator
from types import NoneType
from typing import Any, TypeVar, cast

from attrs import fields, has, resolve_types
from cattrs import Converter

T = TypeVar("T")

_NUMBERS = {int, float, bool, NoneType}


def to_plain(memory: object) -> dict[str, Any]:
    """Return the state's fields as plain data, without those that have their defaults."""
    plain: dict[str, Any] = _CONVERTER.unstructure(memory)
    return plain


def from_plain(cls: type[T], plain: object) -> T:
    """Read the result of `to_plain`, possibly of another release of this package.

    Unknown entries are ignored, and missing ones get their defaults. If the rest is invalid, the state is empty.
    """
    try:
        return _CONVERTER.structure(plain, cls)
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration, struct.error):
        return cls()


def as_list(cls: type[T]) -> type[T]:
    """Convert instances of a class to a list of their values, which are numbers or None.

    A release may add fields with defaults at the end.
    """
    _CONVERTER.register_unstructure_hook(cls, _values)
    _CONVERTER.register_structure_hook(cls, _from_list)
    return cls


def packed(cls: type[T]) -> type[T]:
    """Convert instances of a class to a text in base64: eight bytes for each number, instead of up to 18 digits.

    The class and the classes of its fields consist of numbers. A release with other fields cannot read the text.
    """
    _CONVERTER.register_unstructure_hook(cls, _pack)
    _CONVERTER.register_structure_hook(cls, _unpack)
    return cls


def _from_list(plain: object, cls: Any) -> Any:
    values = [*cast("list[object]", plain)][: len(fields(cls))]
    if not isinstance(plain, list) or not {type(value) for value in values} <= _NUMBERS:
        msg = "not a list of numbers"
        raise TypeError(msg)
    return cls(*values)


def _values(memory: object) -> list[Any]:
    cls: Any = type(memory)
    return [getattr(memory, attribute.name) for attribute in fields(cls)]


def _pack(memory: object) -> str:
    numbers = [*_numbers(memory)]
    return base64.b64encode(struct.pack(f"<{len(numbers)}d", *numbers)).decode()


def _unpack(plain: str, cls: Any) -> Any:
    data = base64.b64decode(plain, validate=True)
    numbers = [number for (number,) in struct.iter_unpack("<d", data)]
    left = iter(numbers)
    memory = _from_numbers(cls, left)
    if not all(map(math.isfinite, numbers)) or [*left]:
        raise ValueError(plain)
    return memory


def _numbers(memory: object) -> Iterator[float]:
    for value in _values(memory):
        if has(cast("Any", type(value))):
            yield from _numbers(value)
        else:
            yield value


def _from_numbers(cls: Any, numbers: Iterator[float]) -> Any:
    values: list[object] = []
    for attribute in fields(resolve_types(cls)):
        kind: Any = attribute.type
        values.append(_from_numbers(kind, numbers) if has(kind) else kind(next(numbers)))
    return cls(*values)


_CONVERTER = Converter(omit_if_default=True, detailed_validation=False)
