"""Turns a raw response into a result or an `APIError`, and maps HTTP statuses to exceptions. No I/O."""

from __future__ import annotations

import http
import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, TypeVar, cast

from clanforge_async._codec.error_body import ErrorBody, excerpt, is_error, parse_error_body
from clanforge_async._codec.masking import masked_start
from clanforge_async._http.request import ApiResponse, RawResponse
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
)
from clanforge_async.refs import JobKind, JobRef

T = TypeVar("T")

_SUCCESS, _REDIRECTS, _SERVER_ERRORS = range(200, 300), range(300, 400), range(500, 600)
_ERRORS_BY_STATUS: dict[int, type[APIError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    429: RateLimitError,
}
_LOCKED = re.compile(r"image locked by (diff|update)id:\s*0*([1-9][0-9]{0,99})(?![0-9])", re.IGNORECASE)
_RETRY_AFTER = re.compile(r"(?:[A-Za-z]{3,9},)?[^,]+")
"""One value of a header that may contain several. The comma after a date's weekday does not separate values."""
_ONE_YEAR = timedelta(days=366).total_seconds()


def parse_response(parse: Callable[[Mapping[str, Any]], T], response: RawResponse) -> ApiResponse[T]:
    """Return the parsed result of a successful response.

    Args:
        parse: Parses the JSON object of the body.
        response: The response.

    Raises:
        APIError: The status or the body reports an error; the subclass depends on it.
        InvalidResponseError: The body is not a JSON object, or `parse` cannot read it.
    """
    result = _parse(parse, response)
    if isinstance(result, ClanforgeError):
        raise result
    return result


def _parse(parse: Callable[[Mapping[str, Any]], T], response: RawResponse) -> ApiResponse[T] | ClanforgeError:
    # Errors are returned: a raised one would keep this frame, whose variables can contain secrets that the body quotes.
    payload = _parse_json_object(response.body)
    if response.status not in _SUCCESS or is_error(payload or {}):
        return _make_error(response, parse_error_body(payload or {}))
    if payload is None:
        return InvalidResponseError("the response is not a JSON object", body=excerpt(response.body))
    try:
        return ApiResponse(parse(payload), _parse_date(response.headers.get("Date")))
    except InvalidResponseError as error:
        error.body = excerpt(response.body)
        return error.with_traceback(None)


def _parse_json_object(body: bytes) -> Mapping[str, Any] | None:
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return cast("Mapping[str, Any]", payload) if isinstance(payload, Mapping) else None


def _make_error(response: RawResponse, error: ErrorBody) -> APIError:
    server_time = _parse_date(response.headers.get("Date"))
    error_context: dict[str, Any] = {
        "status_code": response.status,
        "error_code": error.code,
        "method": response.method,
        "url": response.url,
        "body": excerpt(response.body),
        "retry_after": parse_retry_after(response.headers.get_list("Retry-After"), server_time),
    }
    if locked := _LOCKED.search(error.text):
        holder = JobRef(JobKind(f"image-{locked[1].lower()}"), int(locked[2]))
        return ImageLockedError(error.message, holder=holder, **error_context)
    cls = _error_class(response.status, error.message)
    return cls(_error_message(response, error), **error_context)


def _error_class(status: int, message: str) -> type[APIError]:
    if status in _ERRORS_BY_STATUS:
        return _ERRORS_BY_STATUS[status]
    if message.strip().lower() == "forbidden":
        return PermissionDeniedError
    return ServerError if status in _SERVER_ERRORS else APIError


def _error_message(response: RawResponse, error: ErrorBody) -> str:
    location = response.headers.get("Location") if response.status in _REDIRECTS else None
    if location is not None:
        return f"redirected to {masked_start(location, LONGEST_MESSAGE)}, but redirects are never followed"
    if error.message:
        return error.message
    try:
        return http.HTTPStatus(response.status).phrase
    except ValueError:
        return "an unknown status"


@lru_cache(maxsize=32)  # all responses of one second carry the same date
def _parse_date(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = parsedate_to_datetime(text)
        # HTTP dates are in GMT by definition; a date with another time zone is accepted and converted.
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def parse_retry_after(headers: Iterable[str], server_time: datetime | None) -> float | None:
    """Return the seconds of the latest ``Retry-After``, given as seconds or as a date; None without a valid one.

    A gateway may add its own header to the server's, or join the two with a comma. A date is compared with the server's
    clock, so a skewed local clock has no effect. A date in the past gives 0. More than a year is ignored as a mistake.
    """
    values = (value for header in headers for value in _RETRY_AFTER.findall(header))
    return max(
        (seconds for value in values if (seconds := _seconds_until(value, server_time)) is not None), default=None
    )


def _seconds_until(retry_after: str, server_time: datetime | None) -> float | None:
    try:
        seconds = float(retry_after)
    except ValueError:
        moment = _parse_date(retry_after)
        if moment is None:
            return None
        seconds = max((moment - (server_time or datetime.now(UTC))).total_seconds(), 0.0)
    return seconds if 0 <= seconds <= _ONE_YEAR else None


def make_cooldown_error(url: str, status: int, seconds: float) -> APIError:
    """Return the error of a call that was not sent because a response to another call requested a longer pause.

    Args:
        url: URL of the call, without its query.
        status: Status of that response.
        seconds: Remaining seconds of the pause.
    """
    message = f"not sent: the server requested a pause, which lasts another {seconds:.0f} s"
    return _error_class(status, "")(message, status_code=status, url=url, retry_after=seconds)
