"""Faults of the network and of HTTP's framing."""

from __future__ import annotations

import json

from support.faults.fault import invalid_response, timeout_error, transport_error
from support.faults.misbehaviours import (
    CHUNKED,
    close_on_accept,
    never_respond,
    reset_after_request,
    reset_on_accept,
    send_and_close,
    send_and_hang,
    send_repeatedly,
)
from support.loopback_server import http_answer
from support.scripted_server import wire

RESPONSE = http_answer(wire(5))
BODY = json.dumps(wire(5)).encode()


def _with_length(length: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + BODY


NETWORK_FAULTS = [
    transport_error("reset after accept", reset_on_accept),
    transport_error("reset after the request", reset_after_request),
    transport_error("closed before the request", close_on_accept),
    transport_error("closed before the status line", send_and_close(b"")),
    transport_error("half a status line", send_and_close(b"HTTP/1.1 20")),
    transport_error("half a header", send_and_close(b"HTTP/1.1 200 OK\r\nContent-Le")),
    transport_error("half a body", send_and_close(RESPONSE[:-40])),
    transport_error("half a chunk", send_and_close(CHUNKED + b"ffff\r\n" + BODY)),
    transport_error("length too large", send_and_close(_with_length(len(BODY) + 10))),
    transport_error("length not a number", send_and_close(RESPONSE.replace(b"Length: ", b"Length: x"))),
    transport_error("two lengths", send_and_close(RESPONSE.replace(b"\r\n\r\n", b"\r\nContent-Length: 7\r\n\r\n"))),
    transport_error("bad chunk", send_and_close(CHUNKED + b"zz\r\n")),
    transport_error("another protocol", send_and_close(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")),
    transport_error("long line instead of a status line", send_and_close(b"x" * 60000 + b"\r\n\r\n")),
    transport_error(
        "long line instead of a header", send_and_close(b"HTTP/1.1 200 OK\r\n" + b"x" * 60000 + b"\r\n\r\n")
    ),
    transport_error("endless status line", send_repeatedly(b"HTTP/1.1 200 ", b"x" * 4096)),
    transport_error("endless headers", send_repeatedly(b"HTTP/1.1 200 OK\r\n", b"X-Filler: " + b"x" * 4096 + b"\r\n")),
    invalid_response("length too small", send_and_close(_with_length(len(BODY) - 10))),
    timeout_error("no response", never_respond),
    timeout_error("silence after half a status line", send_and_hang(b"HTTP/1.1 20")),
    timeout_error("silence after half a header", send_and_hang(b"HTTP/1.1 200 OK\r\nContent-Le")),
    timeout_error("silence after half a body", send_and_hang(RESPONSE[:-40])),
    timeout_error("silence between chunks", send_and_hang(CHUNKED + b"1\r\n{\r\n")),
    timeout_error("slow endless chunks", send_repeatedly(CHUNKED, b"1\r\n \r\n", pause=0.3)),
    timeout_error("slow body", send_repeatedly(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b" ", pause=0.3)),
    timeout_error("slow headers", send_repeatedly(b"HTTP/1.1 200 OK\r\n", b"X: 1\r\n", pause=0.3)),
]
