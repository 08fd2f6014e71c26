"""Request limiter: the only place in which requests wait: for a cooldown (429), a free slot and the rate limit.

They wait here and not in httpx, because the time that httpx's pool takes is quadratic in its waiting requests.
"""

from __future__ import annotations

import asyncio
import logging
import math

from clanforge_async._logging import log_event
from clanforge_async.errors import APIError

_MAX_BACKOFF = 32.0
"""Longest cooldown in seconds if the server requests one without ``Retry-After``."""


_ROUNDING = 1e-9
"""Remaining seconds up to which a wait counts as over: rounding errors can leave a little."""


class CooldownError(Exception):
    """The cooldown lasts longer than the caller wants to wait.

    Attributes:
        status_code: HTTP status of the response that requested the cooldown.
        seconds: Remaining seconds of the cooldown.
    """

    def __init__(self, status_code: int, seconds: float) -> None:
        super().__init__(status_code, seconds)
        self.status_code = status_code
        self.seconds = seconds


class RequestLimiter:
    """Limits a client's requests in flight and requests per second, and sends none during a cooldown.

    Args:
        max_rate: Requests per second, with a burst of one second's worth; None: unlimited.
        max_concurrency: Requests in flight at a time.
    """

    def __init__(self, max_rate: float | None, max_concurrency: int) -> None:
        self._slots = asyncio.Semaphore(max_concurrency)
        self._rate_limiter = None if max_rate is None else _RateLimiter(max_rate)
        self._cooldown_started_at = -math.inf
        self._cooldown_ends_at = -math.inf
        self._cooldown_status = 0
        self._consecutive_throttles = 0

    def slot(self, max_cooldown: float = math.inf) -> _Slot:
        """Return an async context manager that acquires and releases a slot; see `acquire`."""
        return _Slot(self, max_cooldown)

    async def acquire(self, max_cooldown: float) -> None:
        """Wait for the end of the cooldown, a slot, and the rate limit.

        Args:
            max_cooldown: Longest cooldown in seconds to wait for.

        Raises:
            CooldownError: The cooldown lasts longer.
        """
        while True:
            if self._cooldown_left() > 0:
                await self._wait_for_cooldown(max_cooldown)
            await self._slots.acquire()
            try:
                if self._rate_limiter is not None:
                    await self._rate_limiter.wait()
            except BaseException:
                self._slots.release()
                raise
            if self._cooldown_left() <= 0:
                return
            self._slots.release()

    def release(self) -> None:
        """Release a slot."""
        self._slots.release()

    def count(self) -> None:
        """Count another request that is sent in the same slot, without waiting."""
        if self._rate_limiter is not None:
            self._rate_limiter.count()

    def start_cooldown(self, cause: APIError, sent_at: float) -> None:
        """Hold all requests for `Retry-After` seconds, or exponentially longer if it is absent.

        Args:
            cause: The error of the response that requests the pause. It is not stored, since it would keep its frames
                alive as long as the client.
            sent_at: Event loop time at which its request was sent. Without ``Retry-After``, the throttled responses to
                requests that were in flight together count once.
        """
        now = asyncio.get_running_loop().time()
        seconds = cause.retry_after
        if seconds is None:
            if sent_at < self._cooldown_started_at:
                return
            seconds = min(2.0 ** min(self._consecutive_throttles, 32), _MAX_BACKOFF)  # 2.0**1024 overflows
            self._consecutive_throttles += 1
        self._cooldown_started_at = now
        if now + seconds > self._cooldown_ends_at:
            level = logging.DEBUG if now < self._cooldown_ends_at else logging.WARNING
            message = "rate limited (HTTP %(status_code)d): pausing all requests for %(wait).1f s"
            log_event(level, "cooling_down", message, error=cause, wait=seconds)
            self._cooldown_ends_at = now + seconds
            self._cooldown_status = cause.status_code

    def reset_backoff(self) -> None:
        """Restart the exponential backoff, after a successful response."""
        self._consecutive_throttles = 0

    def _cooldown_left(self) -> float:
        return self._cooldown_ends_at - asyncio.get_running_loop().time()

    async def _wait_for_cooldown(self, max_cooldown: float) -> None:
        while (seconds := self._cooldown_left()) > 0:
            if seconds > max_cooldown:
                raise CooldownError(self._cooldown_status, seconds)
            await asyncio.sleep(seconds)


class _Slot:
    """Acquires and releases one slot; three times as fast as a generator-based context manager."""

    __slots__ = ("_limiter", "_max_cooldown")

    def __init__(self, limiter: RequestLimiter, max_cooldown: float) -> None:
        self._limiter = limiter
        self._max_cooldown = max_cooldown

    async def __aenter__(self) -> None:
        await self._limiter.acquire(self._max_cooldown)

    async def __aexit__(self, *_: object) -> None:
        self._limiter.release()


class _RateLimiter:
    """Limits requests per second, first come first served, with a burst of one second's worth.

    Every request moves the time at which the next one is due by one interval (GCRA, the usual form of a leaky bucket
    in networks). A wait is computed once and not checked again: with a virtual clock, the rounding error of a check
    could result in a wait that is too short to advance the clock, in an endless loop.
    """

    def __init__(self, max_rate: float) -> None:
        self._interval = 1.0 / max_rate
        self._burst = max(1.0 - self._interval, 0.0)
        self._next_due = -math.inf
        self._queue = asyncio.Lock()

    async def wait(self) -> None:
        """Wait until another request may be sent. A cancelled wait uses none of the rate."""
        async with self._queue:
            now = asyncio.get_running_loop().time()
            wait = self._next_due - self._burst - now
            if wait > _ROUNDING:
                await asyncio.sleep(wait)
                now += wait
            self._count(now)

    def count(self) -> None:
        """Count a request that is sent without waiting."""
        self._count(asyncio.get_running_loop().time())

    def _count(self, sent_at: float) -> None:
        self._next_due = max(self._next_due, sent_at) + self._interval
