"""``image_diffs.retry``: a GET with a side effect, sent again only if the server cannot have processed it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import httpx
import httpx_aiohttp
import pytest
from support.failures import MAX_RESPONSE_BYTES, REJECTED, UNSENT
from support.failures import UNKNOWN_OUTCOMES as FAILURES
from support.loopback_server import LoopbackServer, http_answer, nobody_listens
from support.scripted_server import START, Answer, ScriptedServer, answer, envelope, server_now, wire
from support.virtual_time import now, virtual_time

from clanforge_async import (
    APIError,
    ClanforgeClient,
    ImageDiffJob,
    ImageLockedError,
    InvalidResponseError,
    JobRef,
    JobState,
    RateLimitError,
    RetryOutcomeUnknownError,
    ServerError,
    TransportError,
)

RETRY, STATUS = ("imagediff/retry", 5), ("imagediff/status", 5)
TERMINAL = [JobState.COMPLETED, JobState.FAILED, JobState.SQUASHED]
# A retry names the job, so that an object that is not a job leaves the outcome unknown as well.
UNKNOWN_OUTCOMES = FAILURES | {
    "no job": (lambda: httpx.Response(200, json={"diffid": 5}), InvalidResponseError),
}
# Every clock is tested once, not with every failure.
each_failure_and_clock = pytest.mark.parametrize(
    ("failure", "skew"), [*((name, 0) for name in UNKNOWN_OUTCOMES), ("dropped", -86400), ("dropped", 86400)]
)
each_failure = pytest.mark.parametrize("failure", UNKNOWN_OUTCOMES)
each_transport = pytest.mark.parametrize("over_aiohttp", [False, True])


def http_date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(math.floor(seconds), UTC), usegmt=True)


class Diff:
    """A diff on a server with a skewed clock and slow responses."""

    def __init__(self, skew: int = 0) -> None:
        self.server = ScriptedServer()
        self.skew = skew
        self.began = self.clock()

    def clock(self) -> float:
        return server_now() + self.skew

    def on(self, call: str, *steps: Callable[[], Answer], takes: float = 0.0) -> None:
        """Set the responses to a call, each after a delay."""
        left = list(steps)

        async def script() -> Answer:
            await asyncio.sleep(takes)
            return left.pop(0)()

        self.server.on(f"imagediff/{call}", 5, script)

    def says(self, state: JobState, updated: float, **fields: Any) -> Callable[[], Answer]:
        """Respond with the diff in a state since a time, in seconds from the start."""

        def step() -> Answer:
            body = wire(5, state, jobupdated=math.floor(self.began + updated), **fields)
            return httpx.Response(200, json=body, headers={"Date": http_date(self.clock())})

        return step

    def at(self, seconds: float) -> datetime:
        """Return a time by the server's clock, in seconds from the start."""
        return datetime.fromtimestamp(math.floor(self.began + seconds), UTC)

    def client(self, **options: Any) -> ClanforgeClient:
        return self.server.client(**({"max_response_bytes": MAX_RESPONSE_BYTES} | options))


def fails(answer_: Answer) -> Callable[[], Answer]:
    return lambda: answer_


# Success


@virtual_time
async def test_a_retry_returns_a_ref_with_newer_than() -> None:
    """The ``ref`` of the job that a retry returns has the job's ``updated_at`` as ``newer_than``."""
    diff = Diff()
    diff.on("retry", diff.says(JobState.QUEUED, 0))
    async with diff.client() as client:
        job = await client.image_diffs.retry(5)
    assert isinstance(job, ImageDiffJob)
    assert job.ref == JobRef.image_diff(5, diff.at(0))
    assert str(job.ref) == f"image-diff/5@{START}"
    assert diff.server.asked == {RETRY: [0.0]}


@pytest.mark.parametrize("skew", [-86400, 0, 86400])
@pytest.mark.parametrize("state", TERMINAL)
def test_the_end_of_the_previous_run_is_ignored(state: JobState, skew: int) -> None:
    """If a retry returns the end of the previous run, ``newer_than`` is one second after that."""

    @virtual_time
    async def run() -> None:
        diff = Diff(skew)
        diff.on("retry", diff.says(state, -3600), takes=2)
        async with diff.client() as client:
            job = await client.image_diffs.retry(5)
        assert job.state is state
        assert job.ref == JobRef.image_diff(5, diff.at(-3599))

    run()


@pytest.mark.parametrize("skew", [-86400, 0, 86400])
@pytest.mark.parametrize("state", TERMINAL)
def test_an_end_before_the_response_counts_as_the_previous_run(state: JobState, skew: int) -> None:
    """A terminal state in the retry's own response may belong to the previous run, however long the response takes."""

    @virtual_time
    async def run() -> None:
        diff = Diff(skew)
        diff.on("retry", diff.says(state, 5), takes=8)
        async with diff.client() as client:
            job = await client.image_diffs.retry(5)
        assert job.ref == JobRef.image_diff(5, diff.at(6))

    run()


@virtual_time
async def test_an_end_in_the_second_of_the_call_is_ignored() -> None:
    """A run that ended in the same second as the call may be the previous run, and is ignored."""
    diff = Diff()
    diff.on("retry", diff.says(JobState.COMPLETED, 0))
    async with diff.client() as client:
        job = await client.image_diffs.retry(5)
    assert job.ref == JobRef.image_diff(5, diff.at(1))


@virtual_time
async def test_an_end_in_the_second_after_the_response_counts() -> None:
    """A run that ended in the second after the response's `Date`, by the server's clock, is the new run."""
    diff = Diff()
    diff.on("retry", diff.says(JobState.COMPLETED, 1))
    async with diff.client() as client:
        job = await client.image_diffs.retry(5)
    assert job.ref == JobRef.image_diff(5, diff.at(1))


@virtual_time
async def test_without_a_date_the_local_clock_decides() -> None:
    """A response without ``Date`` is compared to the local clock."""
    server = ScriptedServer()
    server.retry(5, httpx.Response(200, json=wire(5, JobState.FAILED, jobupdated=START)))
    async with server.client() as client:
        job = await client.image_diffs.retry(5)
    assert job.ref == JobRef.image_diff(5, datetime.fromtimestamp(START + 1, UTC))


# Nothing sent, or 429


@pytest.mark.parametrize("failure", UNSENT)
def test_a_retry_without_a_connection_is_sent_again(failure: str) -> None:
    """If no connection was made, the retry is sent again."""

    @virtual_time
    async def run() -> None:
        diff = Diff()
        diff.on("retry", fails(UNSENT[failure]), fails(UNSENT[failure]), diff.says(JobState.CREATED, 0))
        async with diff.client() as client:
            assert (await client.image_diffs.retry(5)).state is JobState.CREATED
        assert len(diff.server.asked[RETRY]) == 3
        assert STATUS not in diff.server.asked

    run()


@pytest.mark.parametrize("failure", UNSENT)
@pytest.mark.parametrize("max_retries", [0, 2])
def test_a_retry_that_was_never_sent_is_a_transport_error(failure: str, max_retries: int) -> None:
    """If no connection can be made, the error has ``request_sent`` False, and the outcome is known."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        server.retry(5, UNSENT[failure])
        async with server.client(max_retries=max_retries) as client:
            with pytest.raises(TransportError) as raised:
                await client.image_diffs.retry(5)
        assert raised.value.request_sent is False
        assert len(server.asked[RETRY]) == 1 + max_retries
        assert STATUS not in server.asked

    run()


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "20"}])
def test_a_retry_is_sent_again_after_a_429(headers: dict[str, str]) -> None:
    """A 429 was not processed: the retry is sent again, never before ``Retry-After`` has passed."""

    @virtual_time
    async def run() -> None:
        diff = Diff()
        diff.on("retry", fails(answer({}, 429, **headers)), diff.says(JobState.CREATED, 30))
        async with diff.client() as client:
            await client.image_diffs.retry(5)
        assert len(diff.server.asked[RETRY]) == 2
        assert diff.server.asked[RETRY][1] >= float(headers.get("Retry-After", 0))
        assert STATUS not in diff.server.asked

    run()


@pytest.mark.parametrize(("headers", "times"), [({}, 4), ({"Retry-After": "90"}, 1)])
def test_a_429_leaves_the_outcome_known(headers: dict[str, str], times: int) -> None:
    """A 429 to the last attempt, or with ``Retry-After`` beyond 60 s, is raised unchanged."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        server.retry(5, answer({}, 429, **headers))
        async with server.client() as client:
            with pytest.raises(RateLimitError):
                await client.image_diffs.retry(5)
        assert len(server.asked[RETRY]) == times
        assert STATUS not in server.asked

    run()


@pytest.mark.parametrize("failure", REJECTED)
def test_a_rejected_retry_is_raised_at_once(failure: str) -> None:
    """If the server rejects the retry, the error is raised at once: no second request, no status read."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        server.retry(5, REJECTED[failure])
        async with server.client() as client:
            with pytest.raises(APIError) as raised:
                await client.image_diffs.retry(5)
        assert isinstance(raised.value, ImageLockedError) is failure.startswith("locked")
        assert server.asked == {RETRY: [0.0]}

    run()


@pytest.mark.parametrize("status", [429, 503])
def test_a_retry_during_a_long_cooldown_is_never_sent(status: int) -> None:
    """A retry that is not sent because of a cooldown beyond 60 s raises the error of that cooldown."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        server.version(9, answer({}, status, **{"Retry-After": "300"}))
        async with server.client() as client:
            with pytest.raises(APIError):
                await client.image_versions.status(9)
            with pytest.raises(RateLimitError if status == 429 else ServerError) as raised:
                await client.image_diffs.retry(5)
        assert raised.value.retry_after == 300
        assert RETRY not in server.asked

    run()


# Unknown outcome


@each_failure
@pytest.mark.parametrize("state", [JobState.CREATED, JobState.PENDING, JobState.QUEUED, JobState.RUNNING])
def test_a_running_job_resolves_an_unknown_outcome(failure: str, state: JobState) -> None:
    """After a failure with unknown outcome, a status that shows a running job is returned."""

    @virtual_time
    async def run() -> None:
        diff = Diff()
        diff.on("retry", UNKNOWN_OUTCOMES[failure][0])
        diff.on("status", diff.says(state, -10))
        async with diff.client() as client:
            job = await client.image_diffs.retry(5)
        assert job.state is state
        assert job.ref == JobRef.image_diff(5, diff.at(-10))
        assert diff.server.asked == {RETRY: [0.0], STATUS: [0.0]}

    run()


@virtual_time
async def test_an_unknown_state_resolves_an_unknown_outcome() -> None:
    """A status with an unknown state is not terminal, so it is returned."""
    diff = Diff()
    diff.on("retry", fails(httpx.ReadTimeout("late")))
    diff.on("status", diff.says(JobState.RUNNING, -10, jobstateid=99))
    async with diff.client() as client:
        assert (await client.image_diffs.retry(5)).state is None


@each_failure_and_clock
@pytest.mark.parametrize("state", TERMINAL)
def test_an_end_after_the_call_resolves_an_unknown_outcome(failure: str, skew: int, state: JobState) -> None:
    """A status that shows an end after the call, by the server's clock, is returned."""

    @virtual_time
    async def run() -> None:
        diff = Diff(skew)
        diff.on("retry", UNKNOWN_OUTCOMES[failure][0], takes=20)
        diff.on("status", diff.says(state, 10))
        async with diff.client() as client:
            job = await client.image_diffs.retry(5)
        assert (job.state, job.ref) == (state, JobRef.image_diff(5, diff.at(10)))
        assert diff.server.asked == {RETRY: [0.0], STATUS: [20.0]}

    run()


@each_failure_and_clock
@pytest.mark.parametrize("state", TERMINAL)
def test_an_end_before_the_call_leaves_the_outcome_unknown(failure: str, skew: int, state: JobState) -> None:
    """A status that shows an end before the call raises `RetryOutcomeUnknownError`, with the failure as its cause."""

    @virtual_time
    async def run() -> None:
        diff = Diff(skew)
        diff.on("retry", UNKNOWN_OUTCOMES[failure][0], takes=20)
        diff.on("status", diff.says(state, -10))
        async with diff.client() as client:
            with pytest.raises(RetryOutcomeUnknownError, match="may or may not have happened") as raised:
                await client.image_diffs.retry(5)
        assert raised.value.diff_id == 5
        assert type(raised.value.__cause__) is UNKNOWN_OUTCOMES[failure][1]
        assert diff.server.asked == {RETRY: [0.0], STATUS: [20.0]}

    run()


@each_failure
@pytest.mark.parametrize("unread", ["read timeout", "404", "html", "refused"])
def test_a_failed_status_leaves_the_outcome_unknown(failure: str, unread: str) -> None:
    """If the status read fails too, the outcome is unknown, and the first failure is the cause."""
    answers: dict[str, Answer] = {
        "read timeout": httpx.ReadTimeout("marked"),
        "404": httpx.Response(404, json=envelope("marked")),
        "html": httpx.Response(200, text="<html>"),
        "refused": httpx.ConnectError("marked"),
    }

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        server.retry(5, UNKNOWN_OUTCOMES[failure][0]())
        server.diff(5, answers[unread])
        async with server.client(max_response_bytes=MAX_RESPONSE_BYTES) as client:
            with pytest.raises(RetryOutcomeUnknownError) as raised:
                await client.image_diffs.retry(5)
        assert type(raised.value.__cause__) is UNKNOWN_OUTCOMES[failure][1]
        assert "status" in raised.value.__cause__.__notes__[0]
        assert len(server.asked[RETRY]) == 1

    run()


@virtual_time
async def test_a_retry_that_times_out_reads_the_status() -> None:
    """If the retry gets no response, the status is read after the timeout."""
    diff = Diff()
    diff.server.on("imagediff/retry", 5, asyncio.Event().wait)  # type: ignore[arg-type] # never answers
    diff.on("status", diff.says(JobState.RUNNING, 12))
    async with diff.client(timeout=25.0) as client:
        job = await client.image_diffs.retry(5)
    assert job.ref == JobRef.image_diff(5, diff.at(12))
    assert diff.server.asked == {RETRY: [0.0], STATUS: [25.0]}


@virtual_time
async def test_the_outcome_is_that_of_the_last_request() -> None:
    """If the retry was sent twice, an end between the two requests counts as before the call."""
    diff = Diff()
    diff.on("retry", fails(answer({}, 429, **{"Retry-After": "30"})), fails(httpx.ReadTimeout("late")))
    diff.on("status", diff.says(JobState.COMPLETED, 20))
    async with diff.client() as client:
        with pytest.raises(RetryOutcomeUnknownError):
            await client.image_diffs.retry(5)
    assert len(diff.server.asked[RETRY]) == 2


@virtual_time
async def test_the_status_is_read_after_retry_after() -> None:
    """After a 503 with ``Retry-After`` the outcome is unknown, and the status is read after that time."""
    diff = Diff()
    diff.on("retry", fails(answer({}, 503, **{"Retry-After": "40"})))
    diff.on("status", diff.says(JobState.RUNNING, 1))
    async with diff.client() as client:
        await client.image_diffs.retry(5)
    assert diff.server.asked == {RETRY: [0.0], STATUS: [40.0]}


@virtual_time
async def test_a_long_retry_after_leaves_the_outcome_unknown() -> None:
    """After a 503 with ``Retry-After`` beyond 60 s, the outcome is unknown at once, without a status read."""
    server = ScriptedServer()
    server.retry(5, answer({}, 503, **{"Retry-After": "90"}))
    async with server.client() as client:
        with pytest.raises(RetryOutcomeUnknownError) as raised:
            await client.image_diffs.retry(5)
    assert isinstance(raised.value.__cause__, ServerError)
    assert server.asked == {RETRY: [0.0]}
    assert now() == 0


@virtual_time
async def test_a_cancelled_retry_sends_nothing_more() -> None:
    """Cancelling a retry raises ``CancelledError``, and no further request is sent."""
    server = ScriptedServer()
    server.on("imagediff/retry", 5, asyncio.Event().wait)  # type: ignore[arg-type] # never answers
    async with server.client() as client:
        call = asyncio.create_task(client.image_diffs.retry(5))
        await asyncio.sleep(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.sleep(100)
    assert server.asked == {RETRY: [0.0]}


@virtual_time
async def test_a_transport_cannot_resend_a_retry() -> None:
    """A transport that automatically sends requests again after a dropped connection cannot do that with a retry."""
    sent: list[str] = []

    class DroppedError(httpx.ReadError):
        def __init__(self) -> None:
            super().__init__("dropped")

    class RetryingTransport(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            for _ in range(2):
                async for _part in request.stream:  # type: ignore[union-attr] # a stream that both kinds share
                    pass
                sent.append(request.url.path)
                if "status" in request.url.path:
                    return answer(wire(5))
            raise DroppedError

    async with ClanforgeClient(("key", "secret"), account_service_id=7, transport=RetryingTransport()) as client:
        await client.image_diffs.retry(5)
    assert sent == ["/cfp/v1/imagediff/5/retry", "/cfp/v1/imagediff/5/status"]


# Real sockets, with httpx's own transport and with aiohttp, which resends a GET by itself


@each_transport
@pytest.mark.parametrize("reused", [False, True])
async def test_a_dropped_retry_is_sent_exactly_once(over_aiohttp: bool, reused: bool) -> None:
    """A server that drops a new or kept connection after receiving the retry receives exactly one."""

    def drop_retries(head: str) -> bytes | None:
        return None if "/retry" in head else http_answer(wire(5), Date=http_date(START))

    transport = httpx_aiohttp.AiohttpTransport(verify=False) if over_aiohttp else None
    async with (
        LoopbackServer(drop_retries) as server,
        ClanforgeClient(("key", "secret"), base_url=server.url, transport=transport) as client,
    ):
        if reused:
            await client.image_diffs.status(5)
        job = await client.image_diffs.retry(5)
    assert job.state is JobState.RUNNING
    expected = ["GET /cfp/v1/imagediff/5/status"] * reused
    expected += ["GET /cfp/v1/imagediff/5/retry", "GET /cfp/v1/imagediff/5/status"]
    assert server.request_lines == expected


@each_transport
async def test_a_retry_works_on_a_real_socket(over_aiohttp: bool) -> None:
    """Each successful retry sends one request.

    The default pool opens a connection for each, because the server may be about to close an idle one.
    """
    transport = httpx_aiohttp.AiohttpTransport(verify=False) if over_aiohttp else None
    async with (
        LoopbackServer(lambda _: http_answer(wire(5), Date=http_date(START))) as server,
        ClanforgeClient(("key", "secret"), base_url=server.url, transport=transport) as client,
    ):
        for _ in range(2):
            assert (await client.image_diffs.retry(5)).ref == JobRef.image_diff(5, datetime.fromtimestamp(START, UTC))
    assert server.request_lines == ["GET /cfp/v1/imagediff/5/retry"] * 2
    assert server.connections == (1 if over_aiohttp else 2)


@each_transport
async def test_a_refused_connection_leaves_the_outcome_known(over_aiohttp: bool) -> None:
    """If nothing listens, the retry fails with ``request_sent`` False."""
    transport = httpx_aiohttp.AiohttpTransport(verify=False) if over_aiohttp else None
    with nobody_listens() as url:
        async with ClanforgeClient(("key", "secret"), base_url=url, transport=transport, max_retries=1) as client:
            with pytest.raises(TransportError) as raised:
                await client.image_diffs.retry(5)
    assert raised.value.request_sent is False
