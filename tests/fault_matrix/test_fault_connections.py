"""Kept-alive connections that the server closes, or sends extra bytes on, between two calls."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
from support.faults.harness import AttemptCounter
from support.loopback_server import LoopbackServer, http_answer
from support.scripted_server import wire

from clanforge_async import ClanforgeClient, InvalidResponseError, Job, JobRef, JobState, JobWatcher

RETRY, STATUS = "GET /cfp/v1/imagediff/5/retry", "GET /cfp/v1/imagediff/5/status"
RESPONSE = http_answer(wire(5))
OTHER_RESPONSE = http_answer(wire(5, JobState.COMPLETED))
EXTRA_BYTES = {
    "garbage": b"\r\nsurplus",
    "a response": OTHER_RESPONSE,
    "a response without a body": http_answer(b""),
    "half a response": OTHER_RESPONSE[:99],
}


class ClosingServer:
    """Responds to the first request on each connection, then closes it.

    Args:
        closes: "when idle" after the response, or "on next request".
        first: The response.
    """

    def __init__(self, closes: str, first: bytes) -> None:
        self.paths: list[str] = []
        self.unanswered: list[str] = []
        self._closes = closes
        self.first = first

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.paths.append(await self._read_request(reader))
        writer.write(self.first)
        await writer.drain()
        if self._closes == "on next request":
            with suppress(asyncio.IncompleteReadError):
                self.unanswered.append(await self._read_request(reader))
        writer.close()

    async def _read_request(self, reader: asyncio.StreamReader) -> str:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        return " ".join(head.partition("?")[0].split()[:2])


@asynccontextmanager
async def make_client(server: ClosingServer) -> AsyncIterator[ClanforgeClient]:
    """Start the server and yield a client of it."""
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        async with ClanforgeClient(("key", "secret"), base_url=url, max_rate=None) as client:
            yield client
        for _ in range(5):
            await asyncio.sleep(0)  # let the client's close arrive


@pytest.mark.parametrize("call", ["status", "retry"])
async def test_a_closed_idle_connection_is_replaced(call: str, attempts: AttemptCounter) -> None:
    """If the server closes an idle connection, the next call succeeds in one attempt."""
    server = ClosingServer("when idle", http_answer(wire(5)))
    async with make_client(server) as client:
        await client.image_diffs.status(5)
        for _ in range(5):
            await asyncio.sleep(0)  # let the server's close arrive
        for _ in range(3):
            job = await getattr(client.image_diffs, call)(5)
            assert job.state is JobState.RUNNING
    assert attempts.count == 4
    assert server.unanswered == []


async def test_a_retry_avoids_a_closing_connection(attempts: AttemptCounter) -> None:
    """A retry opens a new connection, so that an idle one closing at that moment leaves no unknown outcome."""
    server = ClosingServer("on next request", http_answer(wire(5)))
    async with make_client(server) as client:
        await client.image_diffs.status(5)
        assert (await client.image_diffs.retry(5)).state is JobState.RUNNING
    assert server.paths == [STATUS, RETRY]
    assert server.unanswered == []
    assert attempts.count == 2


async def test_a_status_call_on_a_closing_connection_is_resent(attempts: AttemptCounter) -> None:
    """A status call on a closing connection is sent again on another one."""
    server = ClosingServer("on next request", http_answer(wire(5)))
    async with make_client(server) as client:
        for _ in range(2):
            assert (await client.image_diffs.status(5)).state is JobState.RUNNING
    assert attempts.count == 3


async def test_a_watch_completes_over_closing_connections(attempts: AttemptCounter) -> None:
    """A watch completes although every other poll uses a closing connection."""
    server = ClosingServer("on next request", http_answer(wire(5)))

    def complete_job(_job: Job) -> None:
        server.first = http_answer(wire(5, JobState.COMPLETED))

    async with make_client(server) as client, JobWatcher(client, interval=0.01) as watcher:
        [result] = await watcher.wait_all([JobRef.image_diff(5)], on_update=complete_job)
    assert result.ok
    assert attempts.count == result.polls == 3


@pytest.mark.parametrize("extra_bytes", EXTRA_BYTES.values(), ids=EXTRA_BYTES)
@pytest.mark.parametrize(
    ("transport", "call", "paths"),
    [
        pytest.param(lambda: None, "status", [STATUS] * 3, id="status"),
        pytest.param(lambda: None, "retry", [STATUS, RETRY], id="retry"),
        pytest.param(httpx.AsyncHTTPTransport, "status", [STATUS] * 3, id="status over a custom transport"),
        pytest.param(httpx.AsyncHTTPTransport, "retry", [STATUS, RETRY, STATUS], id="retry over a custom transport"),
    ],
)
async def test_bytes_after_a_response_are_not_read_as_the_next(
    transport: Callable[[], httpx.AsyncBaseTransport | None], call: str, paths: list[str], extra_bytes: bytes
) -> None:
    """Bytes after a response are never read as the response to the next call."""
    answers = [RESPONSE + extra_bytes]
    async with (
        LoopbackServer(lambda _: answers.pop() if answers else http_answer(wire(5, jobprogress=77))) as server,
        ClanforgeClient(("key", "secret"), base_url=server.url, transport=transport()) as client,
    ):
        await client.image_diffs.status(5)
        assert (await getattr(client.image_diffs, call)(5)).progress == 77
    assert server.request_lines == paths


async def test_a_length_too_small_costs_the_next_call_an_attempt(attempts: AttemptCounter) -> None:
    """If a body is longer than its declared length, the connection breaks, and the next call uses another one."""
    content = json.dumps(wire(5)).encode()
    answers = [http_answer(content).replace(b"Length: %d" % len(content), b"Length: 2") + b"\r\n"]
    answers[0] = answers[0].replace(b"\r\n\r\n{", b"\r\n\r\n{}{")
    async with (
        LoopbackServer(lambda _: answers.pop() if answers else http_answer(content)) as server,
        ClanforgeClient(("key", "secret"), base_url=server.url, max_retries=1) as client,
    ):
        with pytest.raises(InvalidResponseError):
            await client.image_diffs.status(5)
        assert (await client.image_diffs.status(5)).state is JobState.RUNNING
    assert attempts.count == 3
