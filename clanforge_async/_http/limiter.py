"""The one place where requests wait: for the server to cool down, for a free slot, for the rate limit.

Waiting happens here, in front of httpx, because its pool takes time quadratic in the requests that wait inside it.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import math

from aiolimiter import AsyncLimiter

from clanforge_async._logging import log_event
from clanforge_async.errors import APIError

_LONGEST_GUESS = 32.0
"""Seconds to cool down, at the most, where the server asks for it without saying how long."""

_ONE = 1.0 - 1e-6
"""A request, less what rounding may add to the time that it has to wait."""


class Gate:
    """Lets requests through, no more at a time and no faster than agreed.

    Args:
        max_rate: Requests per second, with a burst of one second's worth; None: unlimited.
        max_concurrency: Requests under way at a time.
    """

    def __init__(self, max_rate: float | None, max_concurrency: int) -> None:
        self._slots = asyncio.Semaphore(max_concurrency)
        self._pace = None if max_rate is None else _Pace(max_rate)
        self._cooling_since = -math.inf
        self._cool_at = -math.inf
        self._cause: APIError | None = None
        self._strikes = 0

    def slot(self, patience: float = math.inf) -> _Slot:
        """Return what waits for a slot and holds it, as an async context manager.

        Args:
            patience: Seconds of cooling down to wait for, at the most.

        Raises:
            APIError: Cooling down takes longer than that; the error is the one that asked for it, with the
                seconds that remain.
        """
        return _Slot(self, patience)

    async def enter(self, patience: float) -> None:
        """Wait for a slot and take it; as `slot`, for which it is."""
        while True:
            if self._cooling_for() > 0:
                await self._cool_off(patience)
            await self._slots.acquire()
            try:
                if self._pace is not None:
                    await self._pace.keep()
            except BaseException:
                self._slots.release()
                raise
            if self._cooling_for() <= 0:
                return
            self._slots.release()

    def leave(self) -> None:
        """Give a slot back."""
        self._slots.release()

    def cool_down(self, cause: APIError, sent_at: float) -> None:
        """Let nothing pass for as long as an answer asks for, or for a growing guess where it does not say.

        Args:
            cause: The error that the answer made.
            sent_at: When its request was sent. Of requests that were under way together, one counts for all.
        """
        now = asyncio.get_running_loop().time()
        seconds = cause.retry_after
        if seconds is None:
            if sent_at < self._cooling_since:
                return
            seconds = min(2.0**self._strikes, _LONGEST_GUESS)
            self._strikes += 1
        self._cooling_since = now
        if now + seconds > self._cool_at:
            level = logging.DEBUG if now < self._cool_at else logging.WARNING
            message = "nothing is sent for %(wait).1f s, as the server asks: HTTP %(status_code)d"
            log_event(level, "cooling_down", message, error=cause, wait=seconds)
            self._cool_at = now + seconds
            self._cause = cause

    def settle(self) -> None:
        """Take note of an answer that asks for no cooling down."""
        self._strikes = 0

    def _cooling_for(self) -> float:
        if self._cause is None:
            return 0.0
        return self._cool_at - asyncio.get_running_loop().time()

    async def _cool_off(self, patience: float) -> None:
        while (seconds := self._cooling_for()) > 0:
            if seconds > patience and self._cause is not None:
                error = copy.copy(self._cause)
                error.retry_after = seconds
                raise error
            await asyncio.sleep(seconds)


class _Slot:
    """One request's stay behind the gate; a generator would take three times as long to do the same."""

    __slots__ = ("_gate", "_patience")

    def __init__(self, gate: Gate, patience: float) -> None:
        self._gate = gate
        self._patience = patience

    async def __aenter__(self) -> None:
        await self._gate.enter(self._patience)

    async def __aexit__(self, *_: object) -> None:
        self._gate.leave()


class _Pace:
    """Lets so many requests pass a second, in their order.

    aiolimiter keeps the count, but does not do the waiting: on a clock that stands still between timers, as virtual
    ones do, it can compute a wait so short that it adds nothing to the time, and take that wait for ever.
    """

    def __init__(self, max_rate: float) -> None:
        # The bucket has to hold at least the one request that passes.
        self._limiter = AsyncLimiter(max(max_rate, 1.0), max(1.0, 1.0 / max_rate))
        self._seconds = 1.0 / max_rate
        self._turn = asyncio.Lock()

    async def keep(self) -> None:
        """Wait until one more may pass."""
        async with self._turn:
            while not self._limiter.has_capacity(_ONE):  # noqa: ASYNC110 - it waits for nothing but time
                await asyncio.sleep(self._seconds)
            await self._limiter.acquire(_ONE)
