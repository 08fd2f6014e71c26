"""Cancels a request without losing a connection.

httpcore's pool loses a connection for good if a request is cancelled at one of three moments: after a new connection
is assigned to it but before it starts to connect, after it has connected but before it starts to send, and while the
response is being closed (encode/httpcore#1093). Each lasts only a few turns of the event loop, and httpcore reports it
through its `trace` extension. So a cancellation is held back until no connection is at risk. Transports that report
nothing get the same number of turns.

The exchange runs in the caller's task, since a task of its own would cost a tenth of a whole request. The shield drives
it as a task drives a coroutine, with one difference: while a connection is at risk, the task waits for a proxy of the
future that the exchange waits for, so that a cancellation hits only the proxy.

Driving the exchange step by step also shows whether it waited for its response, or found it already there.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar, cast

import httpx

T = TypeVar("T")
Awaited = asyncio.Future[Any] | None
"""What a coroutine yields to its task: a future to wait for, or None to continue at the loop's next turn."""

_TURNS = 50
"""Most turns of the event loop for which a cancellation is held back: more than a transport needs."""

_CLEANUP_SECONDS = 10.0
"""Seconds for which an exchange may clean up after a cancellation before another one reaches it."""

_AT_RISK_FROM = (
    "connect_tcp.complete",
    "connect_unix_socket.complete",
    "start_tls.complete",
    "response_closed.started",
)
_CONNECTED = ("connect_tcp.complete", "connect_unix_socket.complete")
_READING_HEADERS, _HEADERS_READ = "http11.receive_response_headers.started", "http11.receive_response_headers.complete"


class CancellationShield:
    """Runs one exchange and holds cancellations back while a connection is at risk.

    Create it in the task that runs the exchange.
    """

    __slots__ = (
        "_at_risk",
        "_cancelled_at",
        "_cancelled_before",
        "_deferred",
        "_has_expired",
        "_reading_since",
        "_steps",
        "_stream",
        "_task",
        "_turns",
    )

    def __init__(self) -> None:
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._cancelled_before = self._task.cancelling()
        self._at_risk = True
        self._deferred: asyncio.CancelledError | None = None
        self._turns = 0
        self._cancelled_at: float | None = None
        self._has_expired = False
        self._stream: Any = None
        self._steps = 0
        self._reading_since = 0

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        """Track the state of the exchange; pass it to httpcore as the request's `trace` extension.

        Raises:
            httpx.RemoteProtocolError: The response was there before its request was sent: the server sent more data
                after the previous response, and httpcore kept it and would take it for this response.
        """
        self._at_risk = event.endswith(_AT_RISK_FROM)
        if event.endswith(_CONNECTED):
            self._stream = info["return_value"]
        elif event.endswith("start_tls.failed"):
            await self._stream.aclose()  # httpcore closes it after an error, but not after a cancellation
        elif event == _READING_HEADERS:
            self._reading_since = self._steps
        elif (
            event == _HEADERS_READ and self._reading_since == self._steps
        ):  # reading from the network would take a step
            msg = "the server sent more data than the previous response"
            raise httpx.RemoteProtocolError(msg)

    async def run(self, exchange: Coroutine[Any, Any, T], seconds: float | None) -> T:
        """Await an exchange. A cancellation reaches it once no connection is at risk, and is raised after it has ended.

        Args:
            exchange: Sends a request and reads its response.
            seconds: Time limit; None: unlimited.

        Raises:
            TimeoutError: The time limit has passed.
        """
        # `asyncio.timeout` does the same, but takes a good part of the time of a whole poll.
        timer = None if seconds is None else self._task.get_loop().call_later(seconds, self._expire)
        try:
            result = await self._drive(exchange)
        except (Exception, asyncio.CancelledError):
            self._raise_if_cancelled()  # the cancellation wins over an error that came after it
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
        # Timeouts inside the transport cancel the task too, and uncancel it afterwards.
        return self._task.cancelling() > self._cancelled_before

    @types.coroutine
    def _drive(self, exchange: Coroutine[Any, Any, T]) -> Generator[Awaited, None, T]:
        error: BaseException | None = None
        while True:
            try:
                awaited: Awaited = exchange.send(None) if error is None else exchange.throw(error)
            except StopIteration as end:
                return cast("T", end.value)
            self._steps += 1
            if not self._is_cancelled():
                self._deferred = self._cancelled_at = None
            is_exposed = not self._at_risk and self._deferred is None and self._cancelled_at is None
            error = yield from (self._forward(awaited) if is_exposed else self._shielded(awaited))

    def _forward(self, awaited: Awaited) -> Generator[Awaited, None, BaseException | None]:
        """Wait as a task would, and return the exception to raise in the exchange, or None."""
        try:
            yield awaited
        except asyncio.CancelledError as cancellation:
            self._cancelled_at = self._now()
            return cancellation
        except BaseException as error:  # noqa: BLE001 - every exception here is meant for the exchange
            return error
        return None

    def _shielded(self, awaited: Awaited) -> Generator[Awaited, None, BaseException | None]:
        """Wait while holding cancellations back, and return the one that is due afterwards, or None."""
        waits = True
        while waits:
            cancellation = self._pop_deferred()
            # The message is passed on: anyio recognises its own cancellations by it.
            if cancellation is not None and (awaited is None or not awaited.cancel(*cancellation.args)):
                return cancellation
            try:
                if awaited is None or self._deferred is not None:
                    self._turns += 1
                    yield None
                else:
                    yield from _proxy_future(awaited)
            except asyncio.CancelledError as cancellation:
                self._defer(cancellation)
            waits = awaited is not None and not awaited.done()
        return self._pop_deferred()

    def _defer(self, cancellation: asyncio.CancelledError) -> None:
        is_cleaning_up = self._cancelled_at is not None and self._now() < self._cancelled_at + _CLEANUP_SECONDS
        if self._deferred is None and not is_cleaning_up:
            self._deferred, self._turns = cancellation, 0

    def _pop_deferred(self) -> asyncio.CancelledError | None:
        """Return the deferred cancellation if it need not be held back any longer, else None."""
        if self._deferred is None or (self._at_risk and self._turns < _TURNS):
            return None
        cancellation, self._deferred = self._deferred, None
        self._cancelled_at = self._now()
        return cancellation

    def _now(self) -> float:
        return self._task.get_loop().time()


def _proxy_future(awaited: asyncio.Future[Any]) -> Generator[Awaited, None, None]:
    proxy: asyncio.Future[None] = awaited.get_loop().create_future()

    def wake(_: asyncio.Future[Any]) -> None:
        if not proxy.done():
            proxy.set_result(None)

    awaited.add_done_callback(wake)
    yield from proxy
