"""Faults reported by the server: in the HTTP status, or in an error envelope."""

from __future__ import annotations

import json

from attrs import evolve
from support.faults.fault import Fault, RetryHandling, api_error, server_error
from support.faults.misbehaviours import respond_with, send_and_keep_open
from support.scripted_server import envelope, wire

from clanforge_async import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ImageLockedError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
)

HTML = b"<html><body><h1>Oh no</h1></body></html>"
CLIENT_ERRORS = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: APIError,
    418: APIError,
}
IS_RESENT = {500: True, 501: False, 502: True, 503: True, 504: True, 599: False}


def _envelope_body(message: str, code: int = 1, **more: object) -> bytes:
    return json.dumps(envelope(message, code) | more).encode()


def _too_many_requests(name: str, body: bytes) -> Fault:
    error = api_error(name, respond_with(body, "429 Too Many Requests"), RateLimitError, 429)
    return evolve(error, is_resent=True, retry_handling=RetryHandling.RESENT, ends_watch=False)


_LOCKED = _envelope_body("image locked by diffid: 218595")

STATUS_FAULTS = [
    api_error("304", send_and_keep_open(b"HTTP/1.1 304 Not Modified\r\n\r\n"), APIError, 304),
    *(
        api_error(str(status), respond_with(HTML, f"{status} No"), error, status, retry_after=None, error_code=None)
        for status, error in CLIENT_ERRORS.items()
    ),
    *(
        api_error(
            f"{status} with an envelope",
            respond_with(_envelope_body("no", 7), f"{status} No"),
            error,
            status,
            error_code=7,
        )
        for status, error in CLIENT_ERRORS.items()
    ),
    *(
        server_error(str(status), respond_with(HTML, f"{status} Oh"), status, is_resent=is_resent, error_code=None)
        for status, is_resent in IS_RESENT.items()
    ),
    *(
        server_error(
            f"{status} that looks like a job", respond_with(json.dumps(wire(5, None)).encode(), f"{status} Oh"), status
        )
        for status in (500, 503)
    ),
    server_error(
        "500 with an envelope", respond_with(_envelope_body("oh", 3), "500 Oh"), 500, error_code=3, message="oh"
    ),
    _too_many_requests("429", HTML),
    _too_many_requests("429 with an envelope", _envelope_body("slow down")),
    api_error(
        "200 with an error envelope", respond_with(_envelope_body("no", 9)), APIError, 200, error_code=9, message="no"
    ),
    api_error("success is false", respond_with(b'{"success": false}'), APIError, 200, message="OK"),
    api_error("success is 0", respond_with(b'{"success": "0", "messages": ["no"]}'), APIError, 200, message="no"),
    api_error("error is true", respond_with(b'{"error": true, "message": "no"}'), APIError, 200, message="no"),
    api_error("job without success", respond_with(json.dumps(wire(5, success=False)).encode()), APIError, 200),
    api_error("forbidden under 200", respond_with(_envelope_body("forbidden")), PermissionDeniedError, 200),
    api_error("locked under 200", respond_with(_LOCKED), ImageLockedError, 200, diff_id=218595),
    api_error("locked under 409", respond_with(_LOCKED, "409 Conflict"), ImageLockedError, 409, diff_id=218595),
    api_error("locked under 500", respond_with(_LOCKED, "500 Oh"), ImageLockedError, 500, diff_id=218595),
    api_error(
        "locked by an invalid id", respond_with(_envelope_body("image locked by diffid: " + "9" * 5000)), APIError, 200
    ),
    api_error(
        "invalid error code",
        respond_with(_envelope_body("no", 1, error_code="x" * 5000)),
        APIError,
        200,
        error_code=None,
    ),
]
