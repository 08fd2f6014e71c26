"""Cancelling a request without losing its connection, on a caller's own httpx transport.

httpcore's pool loses a connection for good when a request is cancelled at one of three moments: after a new
connection was assigned to it but before it connects, after it connected but before it sends, and while the response
is being closed (encode/httpcore#1093). None of them lasts longer than a few turns of the event loop. So the exchange
runs in a task of its own, and a cancellation is passed on to it only when no connection is at risk.

The client's own pool needs none of this, since it drops every connection whose request did not end well, and neither
does aiohttp's. `docs/design/transport.md` has the measurements.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import httpx

from clanforge_async._http.httpcore_events import HttpcoreEvents

T = TypeVar("T")

_MAX_TURNS = 50
"""Turns of the event loop for which a cancellation is held back, at most."""

_MAX_SECONDS = 0.2
"""Seconds for which it is held back, at most, however long a turn takes."""


def may_use_httpcore(transport: httpx.AsyncBaseTransport) -> bool:
    """Whether a transport may send through httpcore's pool, as a third party's may until its events tell."""
    is_aiohttp = type(transport).__module__.partition(".")[0] == "httpx_aiohttp"
    return not is_aiohttp and not isinstance(transport, httpx.MockTransport | httpx.ASGITransport)


async def shield_connection(exchange: Coroutine[Any, Any, T], events: HttpcoreEvents) -> T:
    """Await an exchange; pass a cancellation on to it as soon as no connection is at risk.

    Args:
        exchange: Sends one request and reads its response.
        events: The request's `trace` extension, which tells whether a connection is at risk.

    Raises:
        asyncio.CancelledError: The caller was cancelled: the very exception that was raised here, since anyio knows
            its own cancellations by their arguments.
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
            elif is_forwarded and not may_wait():  # until then httpcore may clean up undisturbed
                task.cancel(*error.args)
    if cancellation is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # retrieved, so that asyncio does not report it
    raise cancellation


def cancellation_behind(error: BaseException) -> asyncio.CancelledError:
    """Return the cancellation that a transport turned into another error, or a new one if it hides it."""
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, asyncio.CancelledError):
        behind = behind.__cause__ or behind.__context__
    return behind or asyncio.CancelledError()
