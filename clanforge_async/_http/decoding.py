"""Reading an answer's body, within bounds.

Bodies are decompressed here, not by httpx, which lets go of one whole chunk at a time: a chunk of 64 KiB may become
64 MiB before anybody can count it.
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
    """Return the body of an answer.

    Args:
        response: The answer, as its transport gave it.
        limit: Bytes that the body may have, after decompression.

    Raises:
        InvalidResponseError: It has more, or is not encoded as its headers say, or in a way that nobody asked for.
    """
    if response.is_stream_consumed:  # by a transport that has read it already, or has made it up
        return _within(response.content, limit)
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    decompress = None if encoding in ("", "identity") else _Decompressor(encoding)
    body = bytearray()
    # Straight from the stream: what httpx does on the way takes as long as all the rest of reading a small body.
    chunks = aiter(cast("httpx.AsyncByteStream", response.stream))
    try:
        async for chunk in chunks:
            body += chunk if decompress is None else decompress(chunk, limit + 1 - len(body))
            _within(body, limit)
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()  # else the loop would, some time after the call has ended
    return bytes(body)


def _within(body: B, limit: int) -> B:
    if len(body) > limit:
        msg = f"the answer is larger than {limit} bytes"
        raise InvalidResponseError(msg, body=excerpt(bytes(body[:EXCERPT])))
    return body


class _Decompressor:
    """Decompresses one body, no further than it is asked to."""

    def __init__(self, encoding: str) -> None:
        if encoding not in _KNOWN_ENCODINGS:
            msg = f"the answer's body is encoded in a way that nobody asked for: {encoding[:LONGEST_MESSAGE]}"
            raise InvalidResponseError(msg)
        self._may_lack_header = encoding == "deflate"  # there always were servers that leave it out
        self._inflater = zlib.decompressobj(_WITH_HEADER)

    def __call__(self, chunk: bytes, room: int) -> bytes:
        try:
            try:
                return self._inflater.decompress(chunk, room)
            except zlib.error:
                if not self._may_lack_header:
                    raise
                self._inflater = zlib.decompressobj(_WITHOUT_HEADER)
                return self._inflater.decompress(chunk, room)
            finally:
                self._may_lack_header = False
        except zlib.error as error:
            msg = "the answer's body does not decode as its headers say"
            raise InvalidResponseError(msg) from error
