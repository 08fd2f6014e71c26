"""JSON -> the error in a response body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from clanforge_async._codec.masking import masked_start
from clanforge_async._codec.values import parse_bool, parse_int, parse_or_default
from clanforge_async.errors import LONGEST_MESSAGE

_EXCERPT = 2048
"""Largest number of characters of a response body that an error stores."""

_LONGEST_MASKED = 2**16
"""Bytes of a response body in which secrets are masked: more than an excerpt can need."""


@frozen
class ErrorBody:
    """The error that a response body reports.

    Attributes:
        message: The server's error message; may be empty.
        code: The ``error_code``, if any.
        text: All texts of the body, for searching.
    """

    message: str
    code: int | None
    text: str


def is_error(payload: Mapping[str, Any]) -> bool:
    """Whether a response body reports an error: ``success`` is false or ``error`` is true."""
    success = parse_or_default(parse_bool, payload.get("success"), True)
    error = parse_or_default(parse_bool, payload.get("error"), False)
    return not success or error


def parse_error_body(payload: Mapping[str, Any]) -> ErrorBody:
    """Parse the error of a response body; empty if it reports none."""
    listed = payload.get("messages")
    texts = [payload.get("error_message"), payload.get("message"), payload.get("error")]
    texts += listed if isinstance(listed, list) else []
    texts.append(payload.get("joberror"))
    messages = [text for text in texts if isinstance(text, str) and text.strip()]
    code = parse_or_default(parse_int, payload.get("error_code"), None)
    return ErrorBody(masked_start(messages[0], LONGEST_MESSAGE) if messages else "", code, "\n".join(messages))


def excerpt(body: bytes | bytearray) -> str:
    """Return the first 2 KiB of a response body as text, with the secrets of source URLs masked."""
    return masked_start(body[:_LONGEST_MASKED].decode(errors="replace"), _EXCERPT)
