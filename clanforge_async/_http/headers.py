"""Response headers."""

from __future__ import annotations

import httpx


def header_value(headers: httpx.Headers, name: bytes) -> str | None:
    """Return the value of a header, several joined by commas; None without one.

    `httpx.Headers.get` decodes every header of a response before it looks for the first.

    Args:
        headers: The headers of a response.
        name: The name, in lower case.
    """
    values = [value for key, value in headers.raw if key.lower() == name]
    return b", ".join(values).decode("latin-1") if values else None
