"""How a request is cancelled without costing a connection.

httpcore's pool loses a connection for good when a request is cancelled at one of three moments: after a new
connection was assigned to it but before it began to connect, after it connected but before it began to send, and
while the answer is being closed (encode/httpcore#1093). None of them lasts longer than a few turns of the event
loop, and httpcore reports each through its `trace` extension. So the exchange runs in a task of its own, and a
cancellation reaches it only when no connection is at risk. Transports that report nothing are given the same turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

_TURNS = 50
"""Turns of the loop for which a cancellation is held back, at the most: some of a transport's own and some more."""

_AT_RISK_FROM = (
    "connect_tcp.complete",
    "connect_unix_socket.complete",
    "start_tls.complete",
    "response_closed.started",
)


class Handover:
    """Carries one exchange through a transport and holds cancellations back while a connection is at risk."""

    def __init__(self) -> None:
        self._at_risk = True

    async def trace(self, event: str, _info: dict[str, Any]) -> None:
        """Take note of where the exchange is; to be given to httpcore as the request's `trace` extension."""
        self._at_risk = event.endswith(_AT_RISK_FROM)

    async def carry(self, exchange: Coroutine[Any, Any, T]) -> T:
        """Await an exchange. Whoever cancels this has it cancelled, and ended, when the cancellation comes through."""
        task = asyncio.ensure_future(exchange)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            with suppress(asyncio.CancelledError):
                await self._leave_risk(task)
            task.cancel()
            while not task.done():
                # Nothing that comes meanwhile makes it more cancelled, and the request is not gone before it has ended.
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({task})
            if not task.cancelled():
                task.exception()  # what came too late for anybody to hear is not a lost exception
            raise

    async def _leave_risk(self, task: asyncio.Future[T]) -> None:
        for _ in range(_TURNS):
            if task.done() or not self._at_risk:
                return
            await asyncio.sleep(0)
