"""How a request is cancelled without costing a connection.

httpcore's pool loses a connection for good when a request is cancelled at one of three moments: after a new
connection was assigned to it but before it began to connect, after it connected but before it began to send, and
while the answer is being closed (encode/httpcore#1093). None of them lasts longer than a few turns of the event
loop, and httpcore reports each through its `trace` extension. So a cancellation reaches the exchange only when no
connection is at risk. Transports that report nothing are given the same turns.

The exchange runs in the task of whoever awaits it, since a task of its own would cost a tenth of a whole request. It
is driven the way a task drives a coroutine, with one difference: while a connection is at risk, the task waits for a
stand-in of the future that the exchange waits for, so that a cancellation hits nothing but the stand-in.

Being driven step by step, an exchange also shows whether it has waited for its answer, or found it there.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar, cast

import httpx

T = TypeVar("T")
Awaited = asyncio.Future[Any] | None
"""What a coroutine hands to its task: a future to wait for, or nothing, to go on at the loop's next turn."""

_TURNS = 50
"""Turns of the loop for which a cancellation is held back, at the most: some of a transport's own and some more."""

_GRACE = 10.0
"""Seconds that an exchange has for cleaning up after a cancellation, before it takes notice of another."""

_AT_RISK_FROM = (
    "connect_tcp.complete",
    "connect_unix_socket.complete",
    "start_tls.complete",
    "response_closed.started",
)
_CONNECTED = ("connect_tcp.complete", "connect_unix_socket.complete")
_LISTENS, _HEARD = "http11.receive_response_headers.started", "http11.receive_response_headers.complete"


class Handover:
    """Carries one exchange through a transport and holds cancellations back while a connection is at risk.

    To be made in the task that carries.
    """

    __slots__ = (
        "_at_risk",
        "_cancelled_at",
        "_cancelled_before",
        "_has_expired",
        "_held",
        "_listens_since",
        "_steps",
        "_stream",
        "_task",
        "_turns",
    )

    def __init__(self) -> None:
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._cancelled_before = self._task.cancelling()
        self._at_risk = True
        self._held: asyncio.CancelledError | None = None
        self._turns = 0
        self._cancelled_at: float | None = None
        self._has_expired = False
        self._stream: Any = None
        self._steps = 0
        self._listens_since = 0

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        """Take note of where the exchange is; to be given to httpcore as the request's `trace` extension.

        Raises:
            httpx.RemoteProtocolError: The answer was there before its request. The server had sent more than the
                answer before, and httpcore, which never looks for that, has kept it and would take it for this one.
        """
        self._at_risk = event.endswith(_AT_RISK_FROM)
        if event.endswith(_CONNECTED):
            self._stream = info["return_value"]
        elif event.endswith("start_tls.failed"):
            await self._stream.aclose()  # httpcore does so after an error, but not after a cancellation
        elif event == _LISTENS:
            self._listens_since = self._steps
        elif event == _HEARD and self._listens_since == self._steps:  # whoever reads from the network waits for it
            msg = "more was sent than the answer before"
            raise httpx.RemoteProtocolError(msg)

    async def carry(self, exchange: Coroutine[Any, Any, T], seconds: float | None) -> T:
        """Await an exchange. Whoever cancels this has it cancelled, and ended, when the cancellation comes through.

        Args:
            exchange: What to await.
            seconds: How long, at the most, before it is cancelled all the same; None: as long as it likes.

        Raises:
            TimeoutError: It has taken longer.
        """
        # `asyncio.timeout` would do the same, but take a good part of the time that a whole poll does.
        timer = None if seconds is None else self._task.get_loop().call_later(seconds, self._expire)
        try:
            result = await self._driven(exchange)
        except (Exception, asyncio.CancelledError):
            self._raise_if_cancelled()  # what came too late is heard by nobody
            raise
        finally:
            exchange.close()
            if timer is not None:
                timer.cancel()
        self._raise_if_cancelled()
        return result

    def _expire(self) -> None:
        self._has_expired = self._task.cancel()

    def _raise_if_cancelled(self) -> None:
        if not self._is_cancelled():
            return
        if self._has_expired and self._task.uncancel() == self._cancelled_before:
            raise TimeoutError from None
        raise asyncio.CancelledError from None

    def _is_cancelled(self) -> bool:
        # Timeouts inside the transport cancel its task too, and take that back when they have done their work.
        return self._task.cancelling() > self._cancelled_before

    @types.coroutine
    def _driven(self, exchange: Coroutine[Any, Any, T]) -> Generator[Awaited, None, T]:
        error: BaseException | None = None
        while True:
            try:
                awaited: Awaited = exchange.send(None) if error is None else exchange.throw(error)
            except StopIteration as end:
                return cast("T", end.value)
            self._steps += 1
            if not self._is_cancelled():
                self._held = self._cancelled_at = None
            is_exposed = not self._at_risk and self._held is None and self._cancelled_at is None
            error = yield from (self._exposed(awaited) if is_exposed else self._guarded(awaited))

    def _exposed(self, awaited: Awaited) -> Generator[Awaited, None, BaseException | None]:
        """Wait as a task would, and return what to raise in the exchange, if anything."""
        try:
            yield awaited
        except asyncio.CancelledError as cancellation:
            self._cancelled_at = self._now()
            return cancellation
        except BaseException as error:  # noqa: BLE001 - whatever is raised here was meant for the exchange
            return error
        return None

    def _guarded(self, awaited: Awaited) -> Generator[Awaited, None, BaseException | None]:
        """Wait out of a cancellation's reach, and return the one that is due by then, if any."""
        waits = True
        while waits:
            cancellation = self._due()
            # Passed on with what it says: anyio knows its own cancellations by that.
            if cancellation is not None and (awaited is None or not awaited.cancel(*cancellation.args)):
                return cancellation
            try:
                if awaited is None or self._held is not None:
                    self._turns += 1
                    yield None
                else:
                    yield from _stand_in(awaited)
            except asyncio.CancelledError as cancellation:
                self._hold(cancellation)
            waits = awaited is not None and not awaited.done()
        return self._due()

    def _hold(self, cancellation: asyncio.CancelledError) -> None:
        is_cleaning_up = self._cancelled_at is not None and self._now() < self._cancelled_at + _GRACE
        if self._held is None and not is_cleaning_up:
            self._held, self._turns = cancellation, 0

    def _due(self) -> asyncio.CancelledError | None:
        """Return the cancellation that need not be held back any longer, if there is one."""
        if self._held is None or (self._at_risk and self._turns < _TURNS):
            return None
        cancellation, self._held = self._held, None
        self._cancelled_at = self._now()
        return cancellation

    def _now(self) -> float:
        return self._task.get_loop().time()


def _stand_in(awaited: asyncio.Future[Any]) -> Generator[Awaited, None, None]:
    stand_in: asyncio.Future[None] = awaited.get_loop().create_future()

    def wake(_: asyncio.Future[Any]) -> None:
        if not stand_in.done():
            stand_in.set_result(None)

    awaited.add_done_callback(wake)
    yield from stand_in
