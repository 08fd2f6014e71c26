"""Faults of the network and of HTTP's framing."""

from __future__ import annotations

import json

from support.faults.deeds import CHUNKED, breaks_off, closes_at_once, hangs, repeats, resets, resets_at_once, stalls
from support.faults.fault import broken, late, unreadable
from support.loopback_server import http_answer
from support.scripted_server import wire

ANSWER = http_answer(wire(5))
BODY = json.dumps(wire(5)).encode()


def _with_length(length: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + BODY


NETWORK_FAULTS = [
    broken("reset after accept", resets_at_once),
    broken("reset after the request", resets),
    broken("closed before the request", closes_at_once),
    broken("closed before the status line", breaks_off(b"")),
    broken("half a status line", breaks_off(b"HTTP/1.1 20")),
    broken("half a header", breaks_off(b"HTTP/1.1 200 OK\r\nContent-Le")),
    broken("half a body", breaks_off(ANSWER[:-40])),
    broken("half a chunk", breaks_off(CHUNKED + b"ffff\r\n" + BODY)),
    broken("length too large", breaks_off(_with_length(len(BODY) + 10))),
    broken("length no number", breaks_off(ANSWER.replace(b"Length: ", b"Length: x"))),
    broken("two lengths", breaks_off(ANSWER.replace(b"\r\n\r\n", b"\r\nContent-Length: 7\r\n\r\n"))),
    broken("bad chunk", breaks_off(CHUNKED + b"zz\r\n")),
    broken("another protocol", breaks_off(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")),
    broken("a long line that is no status line", breaks_off(b"x" * 60000 + b"\r\n\r\n")),
    broken("a long line that is no header", breaks_off(b"HTTP/1.1 200 OK\r\n" + b"x" * 60000 + b"\r\n\r\n")),
    broken("endless status line", repeats(b"HTTP/1.1 200 ", b"x" * 4096)),
    broken("endless headers", repeats(b"HTTP/1.1 200 OK\r\n", b"X-Filler: " + b"x" * 4096 + b"\r\n")),
    unreadable("length too small", breaks_off(_with_length(len(BODY) - 10))),
    late("silent", hangs),
    late("silent after half a status line", stalls(b"HTTP/1.1 20")),
    late("silent after half a header", stalls(b"HTTP/1.1 200 OK\r\nContent-Le")),
    late("silent after half a body", stalls(ANSWER[:-40])),
    late("silent amid chunks", stalls(CHUNKED + b"1\r\n{\r\n")),
    late("chunks that never end", repeats(CHUNKED, b"1\r\n \r\n", pause=0.3)),
    late("a body that drips", repeats(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b" ", pause=0.3)),
    late("headers that drip", repeats(b"HTTP/1.1 200 OK\r\n", b"X: 1\r\n", pause=0.3)),
]
