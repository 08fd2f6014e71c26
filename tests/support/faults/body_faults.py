"""Faults of a body that came whole, or that is too large to come so."""

from __future__ import annotations

import gzip
import json

from support.faults.deeds import CHUNKED, answers, bomb, breaks_off, repeats, says
from support.faults.fault import unreadable
from support.loopback_server import http_answer
from support.scripted_server import wire

BODY = json.dumps(wire(5)).encode()
HTML = b"<html><body><h1>It works!</h1></body></html>"
LARGE = 200 * 2**20
MEBIBYTE = b" " * 2**20

BODY_FAULTS = [
    unreadable("200 MB", repeats(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE, MEBIBYTE, times=200)),
    unreadable("chunks without end", repeats(CHUNKED, b"100000\r\n" + MEBIBYTE + b"\r\n")),
    unreadable("no length and no end", repeats(b"HTTP/1.1 200 OK\r\n\r\n", MEBIBYTE)),
    unreadable("gzip that expands a thousandfold", breaks_off(http_answer(bomb(16), Content_Encoding="gzip"))),
    unreadable("deflate that expands a thousandfold", breaks_off(http_answer(bomb(16), Content_Encoding="deflate"))),
    unreadable("half a gzip", breaks_off(http_answer(gzip.compress(BODY)[:-60], Content_Encoding="gzip"))),
    unreadable("no gzip", breaks_off(http_answer(BODY, Content_Encoding="gzip"))),
    unreadable("an encoding nobody asked for", breaks_off(http_answer(BODY, Content_Encoding="br"))),
    unreadable("not UTF-8", answers(BODY.replace(b"Running", b"Runn\xff\xfeng"))),
    unreadable("truncated JSON", answers(BODY[: len(BODY) // 2])),
    unreadable("two objects", answers(BODY + BODY)),
    unreadable("nested too deep", answers(b"[" * 60000)),
    unreadable("a number of 5000 digits", answers(BODY.replace(b"50", b"9" * 5000))),
    *(
        unreadable(f"JSON {text}", answers(text.encode()))
        for text in ("[]", "[{}]", '"Completed"', "5", "null", "true")
    ),
    unreadable("HTML with 200", answers(HTML, Content_Type="text/html")),
    unreadable("empty 200", answers(b"")),
    unreadable("204", says(b"HTTP/1.1 204 No Content\r\n\r\n")),
    unreadable("206 of the start", says(http_answer(BODY[:50], "206 Partial Content"))),
]
