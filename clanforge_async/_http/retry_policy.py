"""Retries of a single call: which failures allow another attempt, how long to wait before it, and the loop.

See `limiter` for the cooldown after a 429, which pauses the whole client.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from clanforge_async._http.request import ApiRequest, ApiResponse
from clanforge_async._http.request_log import log_retry
from clanforge_async.errors import (
    APIError,
    ClanforgeError,
    ImageLockedError,
    InvalidResponseError,
    RateLimitError,
    ServerError,
    TransportError,
)
from clanforge_async.jobs import Job

T = TypeVar("T")

MAX_COOLDOWN = 60.0
"""Longest cooldown in seconds that a single call waits for. If it is longer, the call raises."""

_FIRST_BACKOFF, _MAX_BACKOFF = 0.5, 10.0
"""Upper bounds in seconds of the first pause and of all pauses. The bound doubles with each attempt."""

_TOO_MANY_REQUESTS, _UNAVAILABLE = 429, 503
_FIRST_SERVER_ERROR = 500
_REQUEST_TIMEOUT, _TOO_EARLY = 408, 425
_TRANSIENT_CLIENT_ERRORS = frozenset({_REQUEST_TIMEOUT, _TOO_EARLY, _TOO_MANY_REQUESTS})
_RETRYABLE_STATUSES = _TRANSIENT_CLIENT_ERRORS | {500, 502, _UNAVAILABLE, 504}


async def call_with_retries(
    attempt: Callable[[ApiRequest[T], float], Awaitable[ApiResponse[T]]], request: ApiRequest[T], max_retries: int
) -> ApiResponse[T]:
    """Send a request until it succeeds or must not be sent again.

    Args:
        attempt: Sends a request once; called with the request and the longest cooldown to wait for.
        request: The request.
        max_retries: Further attempts after the first.

    Raises:
        ClanforgeError: The error of the last attempt.
    """
    attempts = 0
    while True:
        attempts += 1
        try:
            return await attempt(request, MAX_COOLDOWN)
        except ClanforgeError as error:
            if attempts > max_retries or not may_retry(request, error):
                raise
            pause = max(_retry_after(error), _backoff(attempts))
            log_retry(request, error, attempts, pause)
        await asyncio.sleep(pause)


def may_retry(request: ApiRequest[Any], error: ClanforgeError) -> bool:
    """Whether a failed request may be sent again.

    An idempotent request may be sent again after any transient failure, a request with a side effect only if the server
    cannot have processed it. Neither is sent again if the server requests a longer pause than `MAX_COOLDOWN`.
    """
    if isinstance(error, APIError):
        statuses = _RETRYABLE_STATUSES if request.idempotent else {_TOO_MANY_REQUESTS}
        is_retryable = is_transient(error) and error.status_code in statuses
        return is_retryable and _retry_after(error) <= MAX_COOLDOWN
    return isinstance(error, TransportError) and (request.idempotent or not error.request_sent)


def is_transient(error: ClanforgeError) -> bool:
    """Whether a failed status read may succeed later: the network, 408, 425, 429, 5xx, an unreadable body.

    A locked image or a missing permission is not transient, whatever the status.
    """
    if type(error) is APIError:
        return error.status_code in _TRANSIENT_CLIENT_ERRORS
    return isinstance(error, TransportError | RateLimitError | ServerError | InvalidResponseError)


def _retry_after(error: ClanforgeError) -> float:
    return (isinstance(error, APIError) and error.retry_after) or 0.0


def _backoff(attempts: int) -> float:
    # Exponential backoff with full jitter. The exponent is limited so that the float does not overflow.
    longest = min(_FIRST_BACKOFF * 2.0 ** min(attempts - 1, 32), _MAX_BACKOFF)
    return random.uniform(0.0, longest)  # noqa: S311 - jitter needs no cryptographic randomness


def is_throttled(error: APIError) -> bool:
    """Whether the server asks the whole client to slow down: a 429, or a 503 with ``Retry-After``."""
    return error.status_code == _TOO_MANY_REQUESTS or (
        error.status_code == _UNAVAILABLE and error.retry_after is not None
    )


def may_have_been_processed(error: ClanforgeError) -> bool:
    """Whether the server may have processed the request despite the error."""
    if isinstance(error, APIError):
        # A refusal means that nothing was processed: a locked image, or an error status below 500 except a timeout.
        is_failure = error.status_code == _REQUEST_TIMEOUT or error.status_code >= _FIRST_SERVER_ERROR
        return is_failure and not isinstance(error, ImageLockedError)
    return error.request_sent if isinstance(error, TransportError) else isinstance(error, InvalidResponseError)


def may_be_from_previous_run(response: ApiResponse[Job], seconds_since_call: float) -> bool:
    """Whether a terminal job may have ended before the call that started it again.

    ``Date`` and ``jobupdated`` are in whole seconds. If they leave the order open, or without a ``Date``, the result is
    True: mistaking the previous run for the new one would report a result that does not exist yet, while the opposite
    mistake only leaves the outcome unknown.

    Args:
        response: Response that shows the job.
        seconds_since_call: Lower bound of the seconds between sending the call and sending the request for this
            response. The time that the response took to arrive does not count.
    """
    job, server_time = response.value, response.server_time
    if not job.is_terminal:
        return False
    if server_time is None:
        return True
    call_sent_before = server_time.timestamp() + 1 - seconds_since_call
    return job.updated_at.timestamp() < call_sent_before
