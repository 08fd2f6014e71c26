"""JSON objects -> attrs classes, with cattrs: one table of fields for each class."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from cattrs import ClassValidationError, Converter
from cattrs.gen import make_dict_structure_fn, override

from clanforge_async._codec.error_body import excerpt
from clanforge_async._codec.values import parse_int, parse_text, parse_time
from clanforge_async.errors import InvalidResponseError
from clanforge_async.refs import EPOCH

T = TypeVar("T")


NOT_SENT = override(omit=True)
"""Marks an attribute that is not a JSON field."""


def json_field(
    json_name: str, parse: Callable[[Any], Any] | None = None, *, omit_if_default: bool | None = None
) -> Any:
    """Map an attribute to a JSON field.

    Args:
        json_name: Name of the field.
        parse: Parses the value; None: the parser of the attribute's type.
        omit_if_default: Omit the field from the JSON if it has its default value.
    """
    if parse is None:
        return override(rename=json_name)
    return override(rename=json_name, omit_if_default=omit_if_default, struct_hook=lambda value, _type: parse(value))


def make_converter(*, detailed_validation: bool) -> Converter:
    """Return a converter for the API's integers, texts and times."""
    converter = Converter(detailed_validation=detailed_validation)
    converter.register_structure_hook(int, lambda value, _type: parse_int(value))
    converter.register_structure_hook(str, lambda value, _type: parse_text(value))
    converter.register_structure_hook(type(EPOCH), lambda value, _type: parse_time(value))
    return converter


# A job is parsed at every poll and is nearly always valid. The fast converter stops at the first invalid field; then
# the detailed one collects all invalid fields.
_FAST = make_converter(detailed_validation=False)
_DETAILED = make_converter(detailed_validation=True)


class ObjectParser(Generic[T]):
    """Parses the JSON object of one class.

    Args:
        cls: The class.
        description: Name of the object in errors.
        fields: `json_field` of each attribute whose name differs from its JSON field.
    """

    def __init__(self, cls: type[T], description: str, fields: Mapping[str, Any]) -> None:
        self.cls = cls
        self.description = description
        self._fields = fields
        self._fast = make_dict_structure_fn(cls, _FAST, **fields)
        self._detailed = make_dict_structure_fn(cls, _DETAILED, **fields)

    def parse(self, payload: Mapping[str, Any], source: Mapping[str, Any] | None = None) -> T:
        """Parse an object.

        Args:
            payload: The object, with the structure that the field table expects.
            source: The object as the server sent it, for the error; None: ``payload``.

        Raises:
            InvalidResponseError: Fields are missing or malformed; ``fields`` names each of them.
        """
        try:
            return self._fast(payload, self.cls)
        except (KeyError, TypeError, ValueError, OverflowError, ClassValidationError):
            pass
        try:
            return self._detailed(payload, self.cls)
        except ClassValidationError as error:
            names = list(self._invalid_fields(error))
        fields = tuple(dict.fromkeys(names))
        msg = f"not a readable {self.description}: {', '.join(fields)} missing or malformed"
        raise InvalidResponseError(msg, fields=fields, body=excerpt(_dump(payload if source is None else source)))

    def _invalid_fields(self, error: ClassValidationError) -> Iterator[str]:
        for cause, note in error.group_exceptions()[0]:
            if isinstance(cause, ClassValidationError):
                yield from self._invalid_fields(cause)
            else:
                yield getattr(self._fields.get(note.name), "rename", None) or note.name


def _dump(mapping: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(dict(mapping), default=str).encode()
    except (TypeError, ValueError, RecursionError):
        return b""  # not valid JSON, so there is no body to show
