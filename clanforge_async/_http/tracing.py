"""Trace headers that an instrumentation of httpx adds to a request, kept for the log and for spans."""

from __future__ import annotations

from contextvars import ContextVar

import httpx

TRACE_HEADERS: ContextVar[httpx.Headers | None] = ContextVar("clanforge_async.trace_headers", default=None)
"""Headers that were added to the last request of this context; None if there were none."""


class capture_trace_headers:  # noqa: N801 - a context manager, used like a function
    """Captures the headers that are added while a request is sent, and removes them: they belong to one sending.

    A class, so that no local variable of the sender holds headers.
    """

    __slots__ = ("_headers", "_request")

    def __init__(self, request: httpx.Request) -> None:
        self._request = request

    def __enter__(self) -> None:
        self._headers = self._request.headers

    def __exit__(self, *_: object) -> None:
        sent = self._request.headers
        if sent is not self._headers:  # instrumentations replace the headers instead of changing them
            added = [(name, value) for name, value in sent.items() if name not in self._headers]
            TRACE_HEADERS.set(httpx.Headers(added))
            self._request.headers = self._headers
