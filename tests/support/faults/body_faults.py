"""Faults in a response body that is complete, or too large to be read completely."""

from __future__ import annotations

import gzip
import json

from support.faults.fault import invalid_response
from support.faults.misbehaviours import (
    CHUNKED,
    gzip_bomb,
    respond_with,
    send_and_close,
    send_and_keep_open,
    send_repeatedly,
)
from support.loopback_server import http_answer
from support.scripted_server import wire

BODY = json.dumps(wire(5)).encode()
HTML = b"<html><body><h1>It works!</h1></body></html>"
LARGE = 200 * 2**20
MEBIBYTE = b" " * 2**20

BODY_FAULTS = [
    invalid_response(
        "200 MB", send_repeatedly(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE, MEBIBYTE, times=200)
    ),
    invalid_response("endless chunks", send_repeatedly(CHUNKED, b"100000\r\n" + MEBIBYTE + b"\r\n")),
    invalid_response("endless body without a length", send_repeatedly(b"HTTP/1.1 200 OK\r\n\r\n", MEBIBYTE)),
    invalid_response(
        "gzip that expands a thousandfold", send_and_close(http_answer(gzip_bomb(16), Content_Encoding="gzip"))
    ),
    invalid_response(
        "deflate that expands a thousandfold", send_and_close(http_answer(gzip_bomb(16), Content_Encoding="deflate"))
    ),
    invalid_response("truncated gzip", send_and_close(http_answer(gzip.compress(BODY)[:-60], Content_Encoding="gzip"))),
    invalid_response("not gzip", send_and_close(http_answer(BODY, Content_Encoding="gzip"))),
    invalid_response("unsupported encoding", send_and_close(http_answer(BODY, Content_Encoding="br"))),
    invalid_response("not UTF-8", respond_with(BODY.replace(b"Running", b"Runn\xff\xfeng"))),
    invalid_response("truncated JSON", respond_with(BODY[: len(BODY) // 2])),
    invalid_response("two objects", respond_with(BODY + BODY)),
    invalid_response("nested too deep", respond_with(b"[" * 60000)),
    invalid_response("a number of 5000 digits", respond_with(BODY.replace(b"50", b"9" * 5000))),
    *(
        invalid_response(f"JSON {text}", respond_with(text.encode()))
        for text in ("[]", "[{}]", '"Completed"', "5", "null", "true")
    ),
    invalid_response("HTML with 200", respond_with(HTML, Content_Type="text/html")),
    invalid_response("empty 200", respond_with(b"")),
    invalid_response("204", send_and_keep_open(b"HTTP/1.1 204 No Content\r\n\r\n")),
    invalid_response("206 with the first bytes", send_and_keep_open(http_answer(BODY[:50], "206 Partial Content"))),
]
