"""Query parameters of a request, and the refusal of missing and malformed ones."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NoReturn

from attrs import frozen

from clanforge_async.simulator.errors import RequestRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

_INTEGER = re.compile(r"[0-9]{1,18}", re.ASCII)
_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)
_FLAGS = {"0": False, "1": True}
_WORDS = {"false": False, "true": True}


def parse_id(text: str | None) -> int | None:
    """Return a positive id; None if the text is not one."""
    return int(text) if text and _INTEGER.fullmatch(text) and int(text) else None


@frozen
class Parameters:
    """The query parameters of a request.

    Each method raises `RequestRefusedError` with status 400 for a malformed parameter, and for a required parameter
    that is missing. An empty parameter counts as missing.
    """

    _query: Mapping[str, str]

    def text(self, name: str) -> str:
        """Return a required text."""
        value = self._query.get(name, "")
        if not value.strip():
            raise RequestRefusedError(400, f"missing parameter: {name}")
        return value

    def optional_text(self, name: str) -> str | None:
        """Return a text; None if it is missing."""
        return self._query.get(name) or None

    def id(self, name: str) -> int:
        """Return a required id."""
        number = parse_id(self.text(name))
        if number is None:
            self.refuse(name)
        return number

    def optional_id(self, name: str) -> int | None:
        """Return an id; None if it is missing."""
        return self.id(name) if self._query.get(name) else None

    def flag(self, name: str, *, default: bool | None = None) -> bool:
        """Return a flag written as 0 or 1; without a default it is required."""
        return self._choice(name, _FLAGS, default)

    def word(self, name: str, *, default: bool | None = None) -> bool:
        """Return a flag written as ``true`` or ``false``; without a default it is required."""
        return self._choice(name, _WORDS, default)

    def optional_integer(self, name: str, maximum: int) -> int | None:
        """Return an integer from 0 to the maximum; None if it is missing."""
        number = self._optional_number(name, _INTEGER, maximum)
        return None if number is None else int(number)

    def optional_decimal(self, name: str, maximum: float) -> float | None:
        """Return a number from 0 to the maximum; None if it is missing."""
        return self._optional_number(name, _DECIMAL, maximum)

    def refuse(self, name: str) -> NoReturn:
        """Refuse the request for a malformed parameter."""
        raise RequestRefusedError(400, f"malformed parameter: {name}")

    def _optional_number(self, name: str, form: re.Pattern[str], maximum: float) -> float | None:
        text = self._query.get(name)
        if not text:
            return None
        if not form.fullmatch(text) or float(text) > maximum:
            self.refuse(name)
        return float(text)

    def _choice(self, name: str, choices: Mapping[str, bool], default: bool | None) -> bool:
        if default is not None and not self._query.get(name):
            return default
        value = self.text(name)
        if value not in choices:
            self.refuse(name)
        return choices[value]
