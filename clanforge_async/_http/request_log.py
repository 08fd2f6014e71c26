"""What the log says of a call: how each of its attempts ended, and that there will be another."""

from __future__ import annotations

import logging

from tenacity import RetryCallState

from clanforge_async._http.request import Call, Reply
from clanforge_async._logging import log_event, logger
from clanforge_async.errors import ClanforgeError


def log_answer(call: Call, reply: Reply) -> None:
    """Log that an attempt was answered, whatever the answer says."""
    if logger.isEnabledFor(logging.DEBUG):
        message = "GET %(path)s: HTTP %(status_code)d, %(size)d bytes"
        log_event(logging.DEBUG, "request", message, path=call.path, status_code=reply.status, size=len(reply.body))


def log_failure(call: Call, error: ClanforgeError) -> None:
    """Log that an attempt has brought no answer that could be read."""
    log_event(logging.DEBUG, "request", "GET %(path)s: %(said)s", path=call.path, error=error)


def log_repetition(call: Call, state: RetryCallState) -> None:
    """Log that a call is about to wait for its next attempt."""
    log_event(
        logging.INFO,
        "call_repeated",
        "attempt %(attempt)d of GET %(path)s failed, the next in %(wait).2f s: %(said)s",
        error=None if state.outcome is None else state.outcome.exception(),
        path=call.path,
        attempt=state.attempt_number,
        wait=state.upcoming_sleep,
    )
