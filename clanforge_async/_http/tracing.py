"""Instrumentations of httpx: removes the trace headers that they add, and suppresses spans of requests with secrets."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar

import httpx

TRACE_HEADERS: ContextVar[httpx.Headers | None] = ContextVar("clanforge_async.trace_headers", default=None)
"""Headers that were added to the last request of this context; None if there were none."""


def suppress_instrumentation() -> AbstractContextManager[None]:
    """Return a context in which OpenTelemetry's instrumentation of httpx creates no span: it would show the query."""
    # A program that uses the instrumentation has already imported it.
    utils = sys.modules.get("opentelemetry.instrumentation.utils")
    return nullcontext() if utils is None else utils.suppress_http_instrumentation()


class capture_trace_headers:  # noqa: N801 - a context manager, used like a function
    """Captures the headers that are added while a request is sent, and removes them, since it may be sent again.

    A class, so that no local variable of the caller contains headers.
    """

    __slots__ = ("_headers", "_request")

    def __init__(self, request: httpx.Request) -> None:
        self._request = request

    def __enter__(self) -> None:
        self._headers = self._request.headers

    def __exit__(self, *_: object) -> None:
        sent = self._request.headers
        if sent is not self._headers:  # instrumentations replace the `headers` object instead of changing it
            added = [(name, value) for name, value in sent.items() if name not in self._headers]
            TRACE_HEADERS.set(httpx.Headers(added))
            self._request.headers = self._headers
