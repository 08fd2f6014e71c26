"""Reads and decompresses a response body, up to a size limit.

httpx decompresses one whole chunk at a time: a chunk of 64 KiB can become 64 MiB before its size is known. So bodies
are decompressed here.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator
from typing import TypeVar, cast

import httpx

from clanforge_async._codec import EXCERPT, excerpt
from clanforge_async.errors import LONGEST_MESSAGE, InvalidResponseError

B = TypeVar("B", bytes, bytearray)

ACCEPTED_ENCODINGS = "gzip, deflate"

_KNOWN_ENCODINGS = {"gzip", "x-gzip", "deflate"}
_WITH_HEADER = zlib.MAX_WBITS | 32
_WITHOUT_HEADER = -zlib.MAX_WBITS


async def read_body(response: httpx.Response, limit: int) -> bytes:
    """Return the decompressed body of a response.

    Args:
        response: The response of the transport.
        limit: Largest size in bytes, after decompression.

    Raises:
        InvalidResponseError: The body is larger, does not match its ``Content-Encoding``, or has one that was not
            requested.
    """
    if response.is_stream_consumed:  # the transport has read the body already, or has made it up
        return _check_size(response.content, limit)
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    decompress = None if encoding in ("", "identity") else _Decompressor(encoding)
    body = bytearray()
    # The raw stream: the layers of httpx above it double the time to read a small body.
    chunks = aiter(cast("httpx.AsyncByteStream", response.stream))
    try:
        async for chunk in chunks:
            body += chunk if decompress is None else decompress(chunk, limit + 1 - len(body))
            _check_size(body, limit)
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()  # otherwise the event loop would, after the call has returned
    return bytes(body)


def _check_size(body: B, limit: int) -> B:
    if len(body) > limit:
        msg = f"the response is larger than {limit} bytes"
        raise InvalidResponseError(msg, body=excerpt(bytes(body[:EXCERPT])))
    return body


class _Decompressor:
    """Decompresses one body, up to a given size."""

    def __init__(self, encoding: str) -> None:
        if encoding not in _KNOWN_ENCODINGS:
            msg = f"the response has a Content-Encoding that was not requested: {encoding[:LONGEST_MESSAGE]}"
            raise InvalidResponseError(msg)
        self._may_lack_header = encoding == "deflate"  # some servers leave the zlib header out
        self._inflater = zlib.decompressobj(_WITH_HEADER)

    def __call__(self, chunk: bytes, max_length: int) -> bytes:
        try:
            try:
                return self._inflater.decompress(chunk, max_length)
            except zlib.error:
                if not self._may_lack_header:
                    raise
                self._inflater = zlib.decompressobj(_WITHOUT_HEADER)
                return self._inflater.decompress(chunk, max_length)
            finally:
                self._may_lack_header = False
        except zlib.error as error:
            msg = "the response body does not match its Content-Encoding"
            raise InvalidResponseError(msg) from error
