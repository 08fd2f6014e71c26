"""What an answer means, and what may be done after a failure: decisions alone, no I/O."""

from __future__ import annotations

import http
import json
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, cast

from clanforge_async._codec import Complaint, complaint_in, excerpt, is_error, job_from_dict
from clanforge_async._http.request import Call, Reply
from clanforge_async.errors import (
    LONGEST_MESSAGE,
    APIError,
    AuthenticationError,
    BadRequestError,
    ClanforgeError,
    ImageLockedError,
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    TransportError,
)
from clanforge_async.jobs import Job, Reading
from clanforge_async.refs import JobKind

PATIENCE = 60.0
"""Seconds that a single call waits, at the most, because the server asks for it."""

_SUCCESS, _REDIRECTS, _SERVER_ERRORS = range(200, 300), range(300, 400), range(500, 600)
_REPEATABLE_STATUSES = frozenset({429, 500, 502, 503, 504})
_ERRORS_BY_STATUS: dict[int, type[APIError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    429: RateLimitError,
}
_LOCKED = re.compile(r"image locked by diffid:\s*([0-9]{1,19})(?![0-9])", re.IGNORECASE)
_A_YEAR = timedelta(days=366).total_seconds()


def interpret(kind: JobKind, reply: Reply) -> Reading:
    """Return what a reply says about a job.

    Raises:
        APIError: It says that something is wrong; the class tells what.
        InvalidResponseError: It says nothing that can be read.
    """
    payload = _object(reply.body)
    if reply.status in _SUCCESS and not is_error(payload or {}):
        return Reading(_job(kind, payload, reply.body), _date(reply.headers.get("Date")))
    complaint = complaint_in(payload or {})
    circumstances: dict[str, Any] = {
        "status_code": reply.status,
        "error_code": complaint.code,
        "method": reply.method,
        "url": reply.url,
        "body": excerpt(reply.body),
        "retry_after": seconds_asked_for(reply.headers.get("Retry-After"), _date(reply.headers.get("Date"))),
    }
    if locked := _LOCKED.search(complaint.text):
        raise ImageLockedError(complaint.message, diff_id=int(locked[1]), **circumstances)
    cls = _error_class(reply.status, complaint.message)
    raise cls(_message(reply, complaint), **circumstances)


def _object(body: bytes) -> Mapping[str, Any] | None:
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return cast("Mapping[str, Any]", payload) if isinstance(payload, Mapping) else None


def _job(kind: JobKind, payload: Mapping[str, Any] | None, body: bytes) -> Job:
    if payload is None:
        msg = "the answer is not a JSON object"
        raise InvalidResponseError(msg, body=excerpt(body))
    try:
        return job_from_dict(kind, payload)
    except InvalidResponseError as error:
        error.body = excerpt(body)
        raise


def _error_class(status: int, message: str) -> type[APIError]:
    if status in _ERRORS_BY_STATUS:
        return _ERRORS_BY_STATUS[status]
    if message.strip().lower() == "forbidden":
        return PermissionDeniedError
    return ServerError if status in _SERVER_ERRORS else APIError


def _message(reply: Reply, complaint: Complaint) -> str:
    location = reply.headers.get("Location") if reply.status in _REDIRECTS else None
    if location is not None:
        return f"redirected to {location[:LONGEST_MESSAGE]}, which is never followed"
    if complaint.message:
        return complaint.message
    try:
        return http.HTTPStatus(reply.status).phrase
    except ValueError:
        return "an unknown status"


@lru_cache(maxsize=32)  # the answers of one second all carry the same date
def _date(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = parsedate_to_datetime(text)
        # HTTP dates are GMT by definition; a date that says otherwise names the same moment in another zone.
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def seconds_asked_for(retry_after: str | None, server_time: datetime | None) -> float | None:
    """Return the seconds that a ``Retry-After`` asks for, in either of its forms; None where it makes no sense.

    A date counts from the server's own clock, so that a skewed one here changes nothing. One in the past asks for
    no wait. What lies more than a year ahead is taken for a mistake.
    """
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        moment = _date(retry_after)
        if moment is None:
            return None
        seconds = max((moment - (server_time or datetime.now(UTC))).total_seconds(), 0.0)
    return seconds if 0 <= seconds <= _A_YEAR else None


def may_repeat(call: Call, error: BaseException) -> bool:
    """Whether a call that failed so may be sent again by itself.

    A status read may, after any failure that can pass. What has a side effect may only where the server cannot
    have acted upon it. Neither may where the server asks for more time than a single call is ready to wait.
    """
    if isinstance(error, APIError):
        statuses = _REPEATABLE_STATUSES if call.repeatable else {429}
        patient = error.retry_after is None or error.retry_after <= PATIENCE
        return isinstance(error, RateLimitError | ServerError) and error.status_code in statuses and patient
    return isinstance(error, TransportError) and (call.repeatable or not error.request_sent)


def may_have_been_acted_upon(error: ClanforgeError) -> bool:
    """Whether a request that failed so leaves open what the server did."""
    if isinstance(error, TransportError):
        return error.request_sent
    return isinstance(error, ServerError | InvalidResponseError)


def is_of_an_earlier_run(reading: Reading, seconds_since_call: float) -> bool:
    """Whether a job that has ended may have done so before a call was made.

    Both the ``Date`` header and ``jobupdated`` count whole seconds. Where they leave it open whether the job ended
    before or after the call, it did before: to take an old run for the new one would report a result that does not
    exist yet, the other mistake only says that nothing is known.
    """
    answered_by = time.time() if reading.server_time is None else reading.server_time.timestamp() + 1
    return reading.job.is_terminal and reading.job.updated_at.timestamp() < answered_by - seconds_since_call
