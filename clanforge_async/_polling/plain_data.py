"""States of a forecast as plain data for JSON. The data is short, since an engine stores it at every poll."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Iterator
from typing import Any, TypeVar, cast

from attrs import fields, has, resolve_types
from cattrs import Converter

from clanforge_async._validation import is_number

T = TypeVar("T")


def to_plain(memory: object) -> dict[str, Any]:
    """Return the state's fields as plain data, without fields that equal their defaults."""
    plain: dict[str, Any] = _CONVERTER.unstructure(memory)
    return plain


def from_plain(cls: type[T], plain: object) -> T:
    """Read the result of `to_plain`, possibly from another release of this package.

    Unknown entries are ignored, and missing entries get their defaults. If an entry is invalid, the state is empty.
    """
    try:
        return _CONVERTER.structure(plain, cls)
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration, struct.error):
        return cls()


def as_list(cls: type[T]) -> type[T]:
    """Convert instances of a class to a list of their values, which are numbers or None.

    A later release may add fields with defaults at the end.
    """
    _CONVERTER.register_unstructure_hook(cls, _values)
    _CONVERTER.register_structure_hook(cls, _from_list)
    return cls


def packed(cls: type[T]) -> type[T]:
    """Convert instances of a class to base64 text: eight bytes for each number, instead of up to 18 digits.

    The fields must be numbers, or instances of such classes. A release whose fields differ cannot read the text.
    """
    _CONVERTER.register_unstructure_hook(cls, _pack)
    _CONVERTER.register_structure_hook(cls, _unpack)
    return cls


def _from_list(plain: object, cls: Any) -> Any:
    if not isinstance(plain, list):
        raise TypeError(plain)
    # An older release may have written fewer values, and a newer release more.
    pairs = zip(cast("list[object]", plain), fields(resolve_types(cls)), strict=False)
    return cls(*[_CONVERTER.structure(value, attribute.type) for value, attribute in pairs])


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


def _read_float(plain: object, _: object) -> float:
    if not is_number(plain) or math.isinf(plain):
        raise ValueError(plain)
    return plain  # unchanged: a whole number may have been written as an int


def _read_exactly(plain: object, cls: type) -> object:
    if type(plain) is not cls:
        raise TypeError(plain)
    return plain


_CONVERTER = Converter(omit_if_default=True, detailed_validation=False)
_CONVERTER.register_structure_hook(float, _read_float)
_CONVERTER.register_structure_hook(int, _read_exactly)
_CONVERTER.register_structure_hook(bool, _read_exactly)
