"""What an instrumentation of httpx does to a request: it adds headers that say in which trace it is sent."""

from __future__ import annotations

from contextvars import ContextVar

import httpx

TRACE_HEADERS: ContextVar[httpx.Headers | None] = ContextVar("clanforge_async.trace_headers", default=None)
"""The headers that were added to the last request that was sent in this context; None: there were none."""


class Traced:
    """Has a request back as it was when it has been sent: what was added is true of that one sending alone.

    A context manager, so that no variable of whoever sends the request holds its headers.
    """

    __slots__ = ("_headers", "_request")

    def __init__(self, request: httpx.Request) -> None:
        self._request = request

    def __enter__(self) -> None:
        self._headers = self._request.headers

    def __exit__(self, *_: object) -> None:
        sent = self._request.headers
        if sent is not self._headers:  # instrumentations do not change headers but put others in their place
            added = [(name, value) for name, value in sent.items() if name not in self._headers]
            TRACE_HEADERS.set(httpx.Headers(added))
            self._request.headers = self._headers
