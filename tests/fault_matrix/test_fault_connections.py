"""Connections that are kept: whatever the server does to them between two calls is nobody's concern."""

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
ANSWER = http_answer(wire(5))
OTHER_RESPONSE = http_answer(wire(5, JobState.COMPLETED))
EXTRA_BYTES = {
    "junk": b"\r\nsurplus",
    "an answer": OTHER_RESPONSE,
    "an answer without a body": http_answer(b""),
    "half": OTHER_RESPONSE[:99],
}


class ClosingServer:
    """Answers the first request on a connection and closes it at a time of its own choosing.

    Args:
        first: The answer.
        closes: "after" it has answered and kept the connection for a moment, or when "asked" for more.
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
        if self._closes == "asked":
            with suppress(asyncio.IncompleteReadError):
                self.unanswered.append(await self._read_request(reader))
        writer.close()

    async def _read_request(self, reader: asyncio.StreamReader) -> str:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        return " ".join(head.partition("?")[0].split()[:2])


@asynccontextmanager
async def make_client(server: ClosingServer) -> AsyncIterator[ClanforgeClient]:
    """Let the server listen, and give a client of it."""
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        async with ClanforgeClient(("key", "secret"), base_url=url, max_rate=None) as client:
            yield client
        for _ in range(5):
            await asyncio.sleep(0)  # the client's goodbye arrives


@pytest.mark.parametrize("call", ["status", "retry"])
async def test_a_connection_that_was_closed_while_idle_is_replaced(call: str, attempts: AttemptCounter) -> None:
    """A server that closes an idle connection costs the next call nothing, not even an attempt."""
    server = ClosingServer("after", http_answer(wire(5)))
    async with make_client(server) as client:
        await client.image_diffs.status(5)
        for _ in range(5):
            await asyncio.sleep(0)  # the server's goodbye arrives
        for _ in range(3):
            job = await getattr(client.image_diffs, call)(5)
            assert job.state is JobState.RUNNING
    assert attempts.count == 4
    assert server.unanswered == []


async def test_a_retry_does_not_race_a_connection_that_is_being_closed(attempts: AttemptCounter) -> None:
    """A server that closes an idle connection just as a retry comes leaves nothing in doubt: it has its own."""
    server = ClosingServer("asked", http_answer(wire(5)))
    async with make_client(server) as client:
        await client.image_diffs.status(5)
        assert (await client.image_diffs.retry(5)).state is JobState.RUNNING
    assert server.paths == [STATUS, RETRY]
    assert server.unanswered == []
    assert attempts.count == 2


async def test_a_status_call_outlives_a_connection_that_is_being_closed(attempts: AttemptCounter) -> None:
    """A status call that meets such a connection is repeated over another."""
    server = ClosingServer("asked", http_answer(wire(5)))
    async with make_client(server) as client:
        for _ in range(2):
            assert (await client.image_diffs.status(5)).state is JobState.RUNNING
    assert attempts.count == 3


async def test_a_watch_outlives_connections_that_are_being_closed(attempts: AttemptCounter) -> None:
    """A watch whose every other poll meets such a connection ends well."""
    server = ClosingServer("asked", http_answer(wire(5)))

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
        pytest.param(httpx.AsyncHTTPTransport, "status", [STATUS] * 3, id="status over a transport of the user's"),
        pytest.param(httpx.AsyncHTTPTransport, "retry", [STATUS, RETRY, STATUS], id="retry over such a transport"),
    ],
)
async def test_what_comes_after_an_answer_is_nobodys_answer(
    transport: Callable[[], httpx.AsyncBaseTransport | None], call: str, paths: list[str], extra_bytes: bytes
) -> None:
    """Bytes beyond an answer's length are never read as the next call's answer, be it a job, be it half of one."""
    answers = [ANSWER + extra_bytes]
    async with (
        LoopbackServer(lambda _: answers.pop() if answers else http_answer(wire(5, jobprogress=77))) as server,
        ClanforgeClient(("key", "secret"), base_url=server.url, transport=transport()) as client,
    ):
        await client.image_diffs.status(5)
        assert (await getattr(client.image_diffs, call)(5)).progress == 77
    assert server.request_lines == paths


async def test_a_length_too_small_costs_the_next_status_call_an_attempt(attempts: AttemptCounter) -> None:
    """What a length too small leaves over is not HTTP: the connection goes, and the next call takes another."""
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
