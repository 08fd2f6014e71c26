"""Failures of a call with a side effect: nothing was sent, the outcome is unknown, or the server refused."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from support.scripted_server import Answer, envelope

from clanforge_async import ClanforgeError, InvalidResponseError, RequestTimeoutError, ServerError, TransportError
from clanforge_async.errors import APIError, PermissionDeniedError

MAX_RESPONSE_BYTES = 4000
"""Size limit of the clients in these tests."""

UNSENT: dict[str, Exception] = {
    "refused": httpx.ConnectError("refused"),
    "connect timeout": httpx.ConnectTimeout("late"),
    "pool timeout": httpx.PoolTimeout("late"),
    "proxy": httpx.ProxyError("no"),
}
"""The server received nothing."""

UNKNOWN_OUTCOMES: dict[str, tuple[Callable[[], Answer], type[ClanforgeError]]] = {
    "read timeout": (lambda: httpx.ReadTimeout("late"), RequestTimeoutError),
    "write timeout": (lambda: httpx.WriteTimeout("late"), RequestTimeoutError),
    "dropped": (lambda: httpx.RemoteProtocolError("dropped"), TransportError),
    "read error": (lambda: httpx.ReadError("reset"), TransportError),
    "write error": (lambda: httpx.WriteError("reset"), TransportError),
    "system": (ConnectionResetError, TransportError),
    "408": (lambda: httpx.Response(408), APIError),
    "408 forbidden": (lambda: httpx.Response(408, json=envelope("forbidden")), PermissionDeniedError),
    "500": (lambda: httpx.Response(500, text="<html>"), ServerError),
    "501": (lambda: httpx.Response(501), ServerError),
    "502": (lambda: httpx.Response(502, text="<html>"), ServerError),
    "503": (lambda: httpx.Response(503, text="<html>"), ServerError),
    "504": (lambda: httpx.Response(504, text="<html>"), ServerError),
    "599": (lambda: httpx.Response(599), ServerError),
    "500 envelope": (lambda: httpx.Response(500, json=envelope("internal")), ServerError),
    "500 forbidden": (lambda: httpx.Response(500, json=envelope("forbidden")), PermissionDeniedError),
    "html": (lambda: httpx.Response(200, text="<html>"), InvalidResponseError),
    "empty": (lambda: httpx.Response(204), InvalidResponseError),
    "half a body": (lambda: httpx.Response(200, text='{"updateid": 5, "diffid": 5, "imag'), InvalidResponseError),
    "list": (lambda: httpx.Response(200, json=[]), InvalidResponseError),
    "bad gzip": (
        lambda: httpx.Response(200, stream=httpx.ByteStream(b"x" * 50), headers={"Content-Encoding": "gzip"}),
        InvalidResponseError,
    ),
    "too large": (lambda: httpx.Response(200, content=b"x" * (MAX_RESPONSE_BYTES + 1)), InvalidResponseError),
}
"""The server may have acted: the failure, and the error that it is."""

REJECTED: dict[str, Answer] = {
    **{str(status): httpx.Response(status) for status in (301, 400, 401, 403, 404, 409, 418, 425)},
    "400 envelope": httpx.Response(400, json=envelope("no")),
    "200 envelope": httpx.Response(200, json=envelope("no")),
    "locked": httpx.Response(200, json=envelope("image locked by diffid: 6")),
    "locked under 400": httpx.Response(400, json=envelope("image locked by diffid: 6")),
    "locked under 500": httpx.Response(500, json=envelope("image locked by diffid: 6")),
    "locked by update": httpx.Response(200, json=envelope("image locked by updateid: 6")),
}
"""The server refused: nothing was done."""
