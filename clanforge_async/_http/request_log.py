"""Log records of a call: the outcome of each attempt, and the retry that follows it."""

from __future__ import annotations

import logging
from typing import Any

from clanforge_async._http.request import ApiRequest, RawResponse
from clanforge_async._logging import log_event, logger
from clanforge_async.errors import ClanforgeError


def log_response(request: ApiRequest[Any], response: RawResponse) -> None:
    """Log that an attempt got a response, of any status."""
    if logger.isEnabledFor(logging.DEBUG):
        message = "GET %(path)s: HTTP %(status_code)d, %(size)d bytes"
        size = len(response.body)
        log_event(logging.DEBUG, "request", message, path=request.path, status_code=response.status, size=size)


def log_failure(request: ApiRequest[Any], error: ClanforgeError) -> None:
    """Log that an attempt got no readable response."""
    log_event(logging.DEBUG, "request", "GET %(path)s: %(said)s", path=request.path, error=error)


def log_retry(request: ApiRequest[Any], error: ClanforgeError, attempts: int, wait: float) -> None:
    """Log that a call will be attempted again after `wait` seconds."""
    log_event(
        logging.INFO,
        "call_repeated",
        "attempt %(attempt)d of GET %(path)s failed, next attempt in %(wait).2f s: %(said)s",
        error=error,
        path=request.path,
        attempt=attempts,
        wait=wait,
    )
