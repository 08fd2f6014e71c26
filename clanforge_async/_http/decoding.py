"""Reads a response's body, up to a size limit.

Bodies are decompressed here and not by httpx, which decompresses a whole chunk at once: 64 KiB may become 64 MiB
before the size can be checked.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, Iterable, Iterator
from typing import cast

import httpx

from clanforge_async._codec.error_body import excerpt
from clanforge_async.errors import LONGEST_MESSAGE, InvalidResponseError

ACCEPTED_ENCODINGS = "gzip, deflate"

_GZIP = {"gzip", "x-gzip"}
_DEFLATE = "deflate"
_NOT_ENCODED = {"", "identity", "none", "binary", "utf-8"}
"""Values of ``Content-Encoding`` for a body without encoding. The last three are not valid, but servers send them."""

_GZIP_FORMAT = zlib.MAX_WBITS | 16
_ZLIB_FORMAT = zlib.MAX_WBITS
_RAW_FORMAT = -zlib.MAX_WBITS
_HEADER_LENGTH = 2
_GZIP_MAGIC = b"\x1f\x8b"
_MAX_PIECE = 2**16
"""Largest number of bytes to decompress before the size of the body is checked again."""


async def read_body(response: httpx.Response, limit: int) -> bytes:
    """Return the decompressed body of a response.

    Args:
        response: The response of the transport.
        limit: Largest size in bytes, after decompression.

    Raises:
        InvalidResponseError: The body is too large, does not match its ``Content-Encoding``, or has an encoding that
            was not requested.
    """
    if response.is_stream_consumed:  # the transport has already read the body, or has created it
        return bytes(_checked_size(bytearray(response.content), limit))
    decompressors = _decompressors(response.headers.get("Content-Encoding", ""))
    body = bytearray()
    # Read the raw stream, since httpx's own methods double the time to read a small body.
    chunks = aiter(cast("httpx.AsyncByteStream", response.stream))
    try:
        async for chunk in chunks:
            pieces: Iterable[bytes] = (chunk,)
            for decompressor in decompressors:
                pieces = decompressor.decompress(pieces)
            for piece in pieces:
                body += piece
                _checked_size(body, limit)
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()  # otherwise the event loop closes them after the call has returned
    return bytes(body)


def _checked_size(body: bytearray, limit: int) -> bytearray:
    if len(body) > limit:
        msg = f"the response is larger than {limit} bytes"
        raise InvalidResponseError(msg, body=excerpt(body))
    return body


def _decompressors(content_encoding: str) -> list[_Decompressor]:
    """Return a decompressor for each encoding, in reverse order of the header (RFC 9110, 8.4)."""
    encodings = [encoding.strip().lower() for encoding in content_encoding.split(",")]
    return [_Decompressor(encoding) for encoding in reversed(encodings) if encoding not in _NOT_ENCODED]


class _Decompressor:
    """Decompresses gzip, including several members (RFC 1952, 2.2), and deflate, with or without a zlib header."""

    def __init__(self, encoding: str) -> None:
        if encoding not in {*_GZIP, _DEFLATE}:
            msg = f"the response has a Content-Encoding that was not requested: {encoding[:LONGEST_MESSAGE]}"
            raise InvalidResponseError(msg)
        self._is_gzip = encoding in _GZIP
        self._inflater = zlib.decompressobj(_GZIP_FORMAT) if self._is_gzip else None
        self._header = b""

    def decompress(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the decompressed bytes in pieces of limited size."""
        try:
            for chunk in chunks:
                yield from self._pieces(chunk)
        except zlib.error as error:
            msg = "the response body does not match its Content-Encoding"
            raise InvalidResponseError(msg) from error

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        data, self._header = self._header + data, b""
        piece = b""
        while data or len(piece) == _MAX_PIECE:  # after a full piece, output may remain even if all input was consumed
            if self._inflater is None:
                if len(data) < _HEADER_LENGTH:  # the first two bytes show the format
                    self._header = data
                    return
                if self._is_gzip and not data.startswith(_GZIP_MAGIC):
                    return  # padding after the last member
                self._inflater = zlib.decompressobj(self._format(data))
            piece = self._inflater.decompress(data, _MAX_PIECE)
            data = self._inflater.unconsumed_tail
            if self._inflater.eof:
                data = self._inflater.unused_data if self._is_gzip else b""
                self._inflater = None if self._is_gzip else self._inflater
            yield piece

    def _format(self, data: bytes) -> int:
        if self._is_gzip:
            return _GZIP_FORMAT
        is_zlib = data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:_HEADER_LENGTH], "big") % 31 == 0
        return _ZLIB_FORMAT if is_zlib else _RAW_FORMAT  # some servers omit the zlib header
