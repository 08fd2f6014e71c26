"""Response headers."""

from __future__ import annotations

import httpx


def header_value(headers: httpx.Headers, name: bytes) -> str | None:
    """Return the value of a header, or its values joined by commas; None if it is missing.

    `httpx.Headers.get` is slower: it decodes all headers of a response before it searches for one.

    Args:
        headers: The headers of a response.
        name: The name, in lower case.
    """
    values = [value for key, value in headers.raw if key.lower() == name]
    return b", ".join(values).decode("latin-1") if values else None
