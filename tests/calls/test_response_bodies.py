"""Encoded bodies: every form that servers send is decoded, up to the size limit."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.scripted_server import wire

from clanforge_async import ClanforgeClient, ImageVersionJob, InvalidResponseError
from clanforge_async._http.decoding import read_body

JOB = json.dumps(wire(9)).encode()
LIMIT = 2**20


class Chunks(httpx.AsyncByteStream):
    """A body that arrives in the given chunks."""

    def __init__(self, chunks: Sequence[bytes]) -> None:
        self.chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            yield chunk


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def byte_by_byte(data: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in data]


async def status(encoding: str, chunks: Sequence[bytes]) -> ImageVersionJob:
    def server(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Encoding": encoding}, stream=Chunks(chunks))

    transport = httpx.MockTransport(server)
    async with ClanforgeClient(
        ("k", "s"), account_service_id=7, transport=transport, max_response_bytes=LIMIT
    ) as client:
        return await client.image_versions.status(9)


MEMBERS = gzip.compress(JOB[:40]) + gzip.compress(b"") + gzip.compress(JOB[40:])
READABLE = {
    "gzip": ("gzip", [gzip.compress(JOB)]),
    "gzip, byte by byte": ("GZIP ", byte_by_byte(gzip.compress(JOB))),
    "members in one chunk": ("gzip", [MEMBERS]),
    "members byte by byte": ("x-gzip", byte_by_byte(MEMBERS)),
    "an empty member last": ("gzip", [gzip.compress(JOB) + gzip.compress(b"")]),
    "padding": ("gzip", [gzip.compress(JOB) + b"\0\0\0"]),
    "padding of one byte": ("gzip", [gzip.compress(JOB), b"\0"]),
    "zlib": ("deflate", byte_by_byte(zlib.compress(JOB))),
    "raw deflate": ("deflate", [raw_deflate(JOB)]),
    "raw deflate, byte by byte": ("deflate", byte_by_byte(raw_deflate(JOB))),
    "raw deflate after an empty chunk": ("deflate", [b"", raw_deflate(JOB)]),
    "gzip, identity": ("gzip, identity", [gzip.compress(JOB)]),
    "identity, gzip": ("identity, gzip", [gzip.compress(JOB)]),
    "gzip twice": ("gzip, gzip", byte_by_byte(gzip.compress(gzip.compress(JOB)))),
    "deflate, then gzip": ("deflate, gzip", [gzip.compress(raw_deflate(JOB))]),
    "a charset": ("utf-8", [JOB]),
    "none": ("none", [JOB]),
    "nothing": ("", [JOB]),
}


@pytest.mark.parametrize(("encoding", "chunks"), READABLE.values(), ids=READABLE)
async def test_a_body_is_read_in_every_form(encoding: str, chunks: Sequence[bytes]) -> None:
    """A job is parsed from a body in any requested encoding, however it is split into chunks."""
    assert (await status(encoding, chunks)).id == 9


UNREADABLE = {
    "truncated": ("gzip", [gzip.compress(JOB)[:-9]]),
    "not encoded": ("gzip", [JOB]),
    "a broken second member": ("gzip", [gzip.compress(JOB[:40]) + b"\x1f\x8b" + b"?" * 20]),
    "encoded once": ("gzip, gzip", [gzip.compress(JOB)]),
    "not requested": ("br", [JOB]),
    "not deflate": ("deflate", [b"\xff\xff\xff\xff"]),
}


@pytest.mark.parametrize(("encoding", "chunks"), UNREADABLE.values(), ids=UNREADABLE)
async def test_a_body_that_does_not_match_its_encoding_is_invalid(encoding: str, chunks: Sequence[bytes]) -> None:
    """A body that cannot be decoded is an `InvalidResponseError`, so that a watch continues."""
    with pytest.raises(InvalidResponseError):
        await status(encoding, chunks)


BOMB = b"0" * 50_000_000


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(BOMB)),
        ("gzip", gzip.compress(BOMB[: LIMIT - 1]) * 50),
        ("deflate", raw_deflate(BOMB)),
        ("gzip, gzip", gzip.compress(gzip.compress(BOMB))),
    ],
    ids=["one member", "many members", "deflate", "twice"],
)
async def test_the_limit_holds_after_decompression(encoding: str, body: bytes) -> None:
    """A body that grows beyond ``max_response_bytes`` is invalid, in every form."""
    with pytest.raises(InvalidResponseError, match=f"larger than {LIMIT} bytes"):
        await status(encoding, [body])


@settings(deadline=None)  # a busy machine may take long for a megabyte
@given(
    size=st.integers(0, 3 * 2**16 + 3),
    encode=st.sampled_from([gzip.compress, zlib.compress, raw_deflate]),
    chunk_size=st.integers(1, 2**17),
    repetition=st.sampled_from([1, 7, 2**20]),
)
async def test_any_data_survives(size: int, encode: object, chunk_size: int, repetition: int) -> None:
    """Decompression returns the original data, even at the limits of the piece size."""
    assert callable(encode)
    rng = random.Random(size)
    data = (rng.randbytes(min(size, repetition)) * (size // repetition + 1))[:size]
    encoded = encode(data)
    chunks = [encoded[start : start + chunk_size] for start in range(0, len(encoded), chunk_size)]
    encoding = "gzip" if encode is gzip.compress else "deflate"
    response = httpx.Response(200, headers={"Content-Encoding": encoding}, stream=Chunks(chunks))
    assert await read_body(response, len(data)) == data
