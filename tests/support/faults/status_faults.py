"""Answers that say, by their status or in an envelope, that something is wrong."""

from __future__ import annotations

import json

from attrs import evolve
from support.faults.deeds import answers, says
from support.faults.fault import Fault, Retried, failure, refusal
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
PLAIN_REFUSALS = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: APIError,
    418: APIError,
}
IS_REPEATED = {500: True, 501: False, 502: True, 503: True, 504: True, 599: False}


def _enveloped(message: str, code: int = 1, **more: object) -> bytes:
    return json.dumps(envelope(message, code) | more).encode()


def _too_many(name: str, body: bytes) -> Fault:
    refused = refusal(name, answers(body, "429 Too Many Requests"), RateLimitError, 429)
    return evolve(refused, is_repeated=True, retried=Retried.AGAIN, ends_watch=False)


_LOCKED = _enveloped("image locked by diffid: 218595")

STATUS_FAULTS = [
    refusal("304", says(b"HTTP/1.1 304 Not Modified\r\n\r\n"), APIError, 304),
    *(
        refusal(str(status), answers(HTML, f"{status} No"), error, status, retry_after=None, error_code=None)
        for status, error in PLAIN_REFUSALS.items()
    ),
    *(
        refusal(f"{status} with an envelope", answers(_enveloped("no", 7), f"{status} No"), error, status, error_code=7)
        for status, error in PLAIN_REFUSALS.items()
    ),
    *(
        failure(str(status), answers(HTML, f"{status} Oh"), status, is_repeated=is_repeated, error_code=None)
        for status, is_repeated in IS_REPEATED.items()
    ),
    *(
        failure(f"{status} that looks like a job", answers(json.dumps(wire(5, None)).encode(), f"{status} Oh"), status)
        for status in (500, 503)
    ),
    failure("500 with an envelope", answers(_enveloped("oh", 3), "500 Oh"), 500, error_code=3, message="oh"),
    _too_many("429", HTML),
    _too_many("429 with an envelope", _enveloped("slow down")),
    refusal("200 with an envelope", answers(_enveloped("no", 9)), APIError, 200, error_code=9, message="no"),
    refusal("success is false", answers(b'{"success": false}'), APIError, 200, message="OK"),
    refusal("success is 0", answers(b'{"success": "0", "messages": ["no"]}'), APIError, 200, message="no"),
    refusal("error is true", answers(b'{"error": true, "message": "no"}'), APIError, 200, message="no"),
    refusal("a job that did not succeed", answers(json.dumps(wire(5, success=False)).encode()), APIError, 200),
    refusal("forbidden under 200", answers(_enveloped("forbidden")), PermissionDeniedError, 200),
    refusal("locked under 200", answers(_LOCKED), ImageLockedError, 200, diff_id=218595),
    refusal("locked under 409", answers(_LOCKED, "409 Conflict"), ImageLockedError, 409, diff_id=218595),
    refusal("locked under 500", answers(_LOCKED, "500 Oh"), ImageLockedError, 500, diff_id=218595),
    refusal("locked by nonsense", answers(_enveloped("image locked by diffid: " + "9" * 5000)), APIError, 200),
    refusal("a code of nonsense", answers(_enveloped("no", 1, error_code="x" * 5000)), APIError, 200, error_code=None),
]
