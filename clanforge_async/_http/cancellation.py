"""Cancels a request without losing its connection, on an httpx transport that the caller passed.

httpcore's pool loses a connection permanently if a request is cancelled at one of three moments: after a new
connection was assigned to it but before it connects, after it connected but before it sends, and while the response
is being closed (encode/httpcore#1093). Each lasts at most a few iterations of the event loop. So the exchange runs in
its own task, and a cancellation is forwarded to that task only when no connection is at risk.

The client's own pool does not need this, since it drops every connection whose request failed; neither does
aiohttp's. `docs/design/transport.md` has the measurements.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import httpx

from clanforge_async._http.httpcore_events import HttpcoreEvents

T = TypeVar("T")

_MAX_TURNS = 50
"""Largest number of event loop iterations for which a cancellation is delayed."""

_MAX_SECONDS = 0.2
"""Largest number of seconds for which a cancellation is delayed, however long an iteration takes."""


def may_use_httpcore(transport: httpx.AsyncBaseTransport) -> bool:
    """Whether a transport may use httpcore's pool. A third party's transport may, until its events show otherwise."""
    is_aiohttp = type(transport).__module__.partition(".")[0] == "httpx_aiohttp"
    return not is_aiohttp and not isinstance(transport, httpx.MockTransport | httpx.ASGITransport)


async def shield_connection(exchange: Coroutine[Any, Any, T], events: HttpcoreEvents) -> T:
    """Await an exchange; forward a cancellation to it as soon as no connection is at risk.

    Args:
        exchange: Sends one request and reads its response.
        events: The request's `trace` extension, which shows whether a connection is at risk.

    Raises:
        asyncio.CancelledError: The caller was cancelled. It is the original exception, since anyio recognizes its own
            cancellations by their arguments.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(exchange)
    cancellation: asyncio.CancelledError | None = None
    is_forwarded, turns, hold_until = False, 0, loop.time()

    def may_wait() -> bool:
        return turns < _MAX_TURNS and loop.time() < hold_until

    while not task.done():
        if cancellation is not None and not is_forwarded:
            is_held = events.is_connection_at_risk and may_wait()
            is_forwarded = not is_held and task.cancel(*cancellation.args)
        try:
            if cancellation is None or is_forwarded:
                await asyncio.wait({task})
            else:
                turns += 1
                await asyncio.sleep(0)
        except asyncio.CancelledError as error:
            turns += 1
            if cancellation is None:
                cancellation, hold_until = error, loop.time() + _MAX_SECONDS
            elif is_forwarded and not may_wait():  # until then httpcore can clean up
                task.cancel(*error.args)
    if cancellation is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # marks it as retrieved, so that asyncio does not report it
    raise cancellation


def cancellation_behind(error: BaseException) -> asyncio.CancelledError:
    """Return the cancellation that a transport turned into another error, or a new one if it is not in the chain."""
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, asyncio.CancelledError):
        behind = behind.__cause__ or behind.__context__
    return behind or asyncio.CancelledError()
