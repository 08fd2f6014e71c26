"""Calls, clients and assertions shared by the tests of faults."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from support.faults.fault import Fault
from support.faults.faulty_server import FaultyServer
from support.scripted_server import wire

from clanforge_async import (
    APIError,
    ClanforgeClient,
    ClanforgeError,
    InvalidResponseError,
    Job,
    JobRef,
    JobState,
)

MAX_LINE_LENGTH = 1000
"""Maximum characters of an error message or a log line."""

MAX_BODY_LENGTH = 2048

DIFF, VERSION = JobRef.image_diff(5), JobRef.image_version(5)
StatusCall = Callable[[ClanforgeClient], Awaitable[Job]]
STATUS_CALLS: dict[str, StatusCall] = {
    "image diff": lambda client: client.image_diffs.status(5, include_details=True),
    "image version": lambda client: client.image_versions.status(5),
}


def call_retry(client: ClanforgeClient) -> Awaitable[Job]:
    """Retry the image diff."""
    return client.image_diffs.retry(5)


class AttemptCounter(logging.Handler):
    """Log handler that counts attempts, one log line each, and measures the longest message."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.longest_message = 0
        self._more = asyncio.Event()

    async def wait_until(self, count: int) -> None:
        """Wait until there are this many attempts."""
        while self.count < count:
            self._more.clear()
            await self._more.wait()

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        self.longest_message = max(self.longest_message, len(message))
        self.count += message.startswith("GET ")
        self._more.set()


def running_job(_head: str) -> dict[str, Any]:
    """Return the body of a running job."""
    return wire(5)


def completed_job(_head: str) -> dict[str, Any]:
    """Return the body of a job that completed before the test."""
    return wire(5, JobState.COMPLETED)


def make_client(server: FaultyServer, fault: Fault, **options: Any) -> ClanforgeClient:
    """Return a client of the server, with the fault's timeout and response limit."""
    arguments: dict[str, Any] = {
        "base_url": f"http://127.0.0.1:{server.port}",
        "max_rate": None,
        "timeout": fault.timeout,
        "max_response_bytes": fault.max_response_bytes,
    }
    return ClanforgeClient(("key", "secret"), **(arguments | options))


@asynccontextmanager
async def faulty_server(
    fault: Fault, times: float, job: Callable[[str], dict[str, Any]], **options: Any
) -> AsyncIterator[tuple[FaultyServer, ClanforgeClient]]:
    """Start a server that shows the fault this many times, and yield it with a client.

    Args:
        fault: The fault.
        times: Number of requests or connections to misbehave for.
        job: Returns the body of a correct response, given the head of a request.
        options: Options of the client.
    """
    async with FaultyServer(fault.misbehaviour, times, job) as server, make_client(server, fault, **options) as client:
        await server.listen()
        yield server, client


def assert_error(error: BaseException | None, fault: Fault) -> None:
    """Assert that an error is the expected one, and that its texts are short."""
    assert type(error) is fault.error, repr(error)
    assert {name: getattr(error, name) for name in fault.attributes} == fault.attributes
    assert_bounded(error)


def assert_bounded(error: BaseException | None) -> None:
    """Assert that an error can be pickled, and that its message and its body are short."""
    assert isinstance(error, ClanforgeError)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
    assert len(str(error)) <= MAX_LINE_LENGTH
    if isinstance(error, APIError | InvalidResponseError):
        assert len(error.body) <= MAX_BODY_LENGTH
    if isinstance(error, APIError):
        assert error.method == "GET"
        assert "?" not in error.url
