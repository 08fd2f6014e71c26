"""Failed polls: transient failures are retried until ``outage_tolerance``, others end the watch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from support.scripted_server import Answer, ScriptedServer, answer, envelope, wire
from support.virtual_time import now, virtual_time

from clanforge_async import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ClanforgeError,
    ImageLockedError,
    InvalidResponseError,
    JobFailedError,
    JobRef,
    JobState,
    JobWatcher,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    TransportError,
)

REF = JobRef.image_version(9012)
RUNNING, COMPLETED = wire(9012), wire(9012, JobState.COMPLETED)
HTML = "<html><body><h1>Bad Gateway</h1></body></html>"

Failure = Callable[[], Answer]

TRANSIENT: list[Any] = [
    pytest.param(lambda: httpx.ConnectError("refused"), TransportError, id="connect"),
    pytest.param(lambda: httpx.ReadError("reset"), TransportError, id="reset"),
    pytest.param(lambda: httpx.RemoteProtocolError("not HTTP"), TransportError, id="protocol"),
    pytest.param(lambda: OSError("no route"), TransportError, id="os"),
    pytest.param(lambda: httpx.ReadTimeout("slow"), RequestTimeoutError, id="read-timeout"),
    pytest.param(lambda: httpx.ConnectTimeout("slow"), RequestTimeoutError, id="connect-timeout"),
    pytest.param(lambda: httpx.Response(429), RateLimitError, id="429"),
    pytest.param(lambda: httpx.Response(500, json=envelope("broken")), ServerError, id="500"),
    pytest.param(lambda: httpx.Response(502, html=HTML), ServerError, id="502"),
    pytest.param(lambda: httpx.Response(503, html=HTML), ServerError, id="503"),
    pytest.param(lambda: httpx.Response(504), ServerError, id="504"),
    pytest.param(lambda: httpx.Response(200, html=HTML), InvalidResponseError, id="html"),
    pytest.param(lambda: httpx.Response(200, json=[1, 2]), InvalidResponseError, id="no-object"),
    pytest.param(lambda: httpx.Response(200, json={"imageversionid": 9012}), InvalidResponseError, id="no-job"),
    pytest.param(lambda: httpx.Response(200, content=b'{"imagevers'), InvalidResponseError, id="truncated"),
]
PERMANENT: list[Any] = [
    pytest.param(lambda: httpx.Response(400, json=envelope("no accountserviceid")), BadRequestError, id="400"),
    pytest.param(lambda: httpx.Response(401), AuthenticationError, id="401"),
    pytest.param(lambda: httpx.Response(403, json=envelope("forbidden")), PermissionDeniedError, id="403"),
    pytest.param(lambda: httpx.Response(404), NotFoundError, id="404"),
    pytest.param(lambda: httpx.Response(410), APIError, id="410"),
    pytest.param(lambda: httpx.Response(302, headers={"Location": "/elsewhere"}), APIError, id="redirect"),
    pytest.param(lambda: httpx.Response(200, json=envelope("something is wrong")), APIError, id="envelope"),
    pytest.param(
        lambda: httpx.Response(500, json=envelope("image locked by diffid: 4")),
        ImageLockedError,
        id="locked",
    ),
]


@pytest.mark.parametrize(("failure", "error"), TRANSIENT)
@virtual_time
async def test_transient_failures_do_not_end_a_watch(failure: Failure, error: type[ClanforgeError]) -> None:
    """Transient failures of every kind, within the tolerance, only delay a watch."""
    server = ScriptedServer()
    server.on(
        "imageversion/status",
        9012,
        lambda: failure() if 10 <= now() < 200 else COMPLETED if now() > 300 else RUNNING,
    )
    job = await JobWatcher(server.client(), interval=5).wait(REF)
    assert job.is_completed
    assert issubclass(error, ClanforgeError)
    assert any(10 <= at < 200 for at in server.polls(9012))


@pytest.mark.parametrize(("failure", "error"), TRANSIENT)
@virtual_time
async def test_an_outage_beyond_the_tolerance_raises(failure: Failure, error: type[ClanforgeError]) -> None:
    """After ``outage_tolerance`` seconds of unbroken failure the last error is raised."""
    server = ScriptedServer()
    server.on("imageversion/status", 9012, lambda: RUNNING if now() < 50 else failure())
    with pytest.raises(error) as caught:
        await JobWatcher(server.client(), interval=10, outage_tolerance=100).wait(REF)
    assert type(caught.value) is error
    # A 429 makes the whole client cool down for up to 32 s, so the last poll may be that much later.
    assert 150 <= now() <= (182 if error is RateLimitError else 150)


@virtual_time
async def test_a_request_that_times_out_is_a_transient_failure() -> None:
    """A request that exceeds the client's timeout is cancelled, and the next poll may succeed."""
    server = ScriptedServer()

    async def script() -> Answer:
        if now() < 10:
            await asyncio.sleep(10_000)
        return COMPLETED

    server.on("imageversion/status", 9012, script)
    assert (await JobWatcher(server.client(timeout=20)).wait(REF)).is_completed
    assert server.polls(9012) == [0, 21]


@virtual_time
async def test_the_default_tolerance_is_five_minutes() -> None:
    """By default a watch gives up after 300 s of unbroken failure."""
    server = ScriptedServer()
    server.version(9012, httpx.ReadError("reset"))
    with pytest.raises(TransportError):
        await JobWatcher(server.client()).wait(REF)
    assert now() == 300
    assert len(server.polls(9012)) < 30


@virtual_time
async def test_a_good_poll_resets_the_tolerance() -> None:
    """Only an unbroken series of failures counts: an occasional successful poll keeps a watch alive."""
    server = ScriptedServer()
    server.on(
        "imageversion/status",
        9012,
        lambda: COMPLETED if now() > 3600 else RUNNING if int(now() / 30) % 2 else httpx.Response(500),
    )
    assert (await JobWatcher(server.client(), interval=10, outage_tolerance=50).wait(REF)).is_completed


@virtual_time
async def test_the_last_failure_is_raised() -> None:
    """After a series of different failures the last one is raised."""
    server = ScriptedServer()
    server.on(
        "imageversion/status",
        9012,
        lambda: httpx.Response(500) if now() < 20 else httpx.ReadError("reset"),
    )
    with pytest.raises(TransportError, match="reset"):
        await JobWatcher(server.client(), outage_tolerance=20).wait(REF)
    assert now() == 20


@virtual_time
async def test_an_infinite_tolerance_never_gives_up() -> None:
    """With ``outage_tolerance=inf`` a watch survives an outage of hours."""
    server = ScriptedServer()
    server.on("imageversion/status", 9012, lambda: COMPLETED if now() > 20_000 else httpx.ReadError("reset"))
    watcher = JobWatcher(server.client(), outage_tolerance=float("inf"))
    assert (await watcher.wait(REF)).is_completed


@pytest.mark.parametrize(("failure", "error"), PERMANENT)
@virtual_time
async def test_a_permanent_failure_ends_the_watch_at_once(failure: Failure, error: type[ClanforgeError]) -> None:
    """A refusal is raised at once, and nothing is polled afterwards."""
    server = ScriptedServer()
    server.on("imageversion/status", 9012, lambda: failure() if server.polls(9012)[1:] else RUNNING)
    with pytest.raises(error) as caught:
        await JobWatcher(server.client(), interval=5).wait(REF)
    assert type(caught.value) is error
    await asyncio.sleep(10_000)
    assert server.polls(9012) == [0, 5]


@pytest.mark.parametrize(("failure", "error"), PERMANENT)
@virtual_time
async def test_every_watch_of_the_job_gets_the_same_error(failure: Failure, error: type[ClanforgeError]) -> None:
    """Watches that share a poll share its failure: each gets an error of the same type and text."""
    server = ScriptedServer()
    server.on("imageversion/status", 9012, failure)
    results = await JobWatcher(server.client()).wait_all([REF] * 3)
    assert [type(result.error) for result in results] == [error] * 3
    assert len({str(result.error) for result in results}) == 1
    assert server.polls(9012) == [0]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("asked_for", [90, 600, 3600])
@virtual_time
async def test_retry_after_is_respected(status: int, asked_for: int) -> None:
    """A ``Retry-After`` of any length ends no watch, and nothing is sent before it has passed."""
    server = ScriptedServer()
    server.version(9012, RUNNING, httpx.Response(status, headers={"Retry-After": str(asked_for)}), COMPLETED)
    server.version(1, wire(1))
    client = server.client()
    watcher = JobWatcher(client, interval=5)
    async with asyncio.TaskGroup() as group:
        other = group.create_task(watcher.wait_all([JobRef.image_version(1)], timeout=asked_for))
        assert (await watcher.wait(REF)).is_completed
    assert server.polls(9012) == [0, 5, 5 + asked_for]
    assert other.result()[0].polls > 0
    assert not [at for at in server.polls(1) if 5 < at < 5 + asked_for], "the whole client was asked to hold back"


@virtual_time
async def test_retry_after_may_be_a_date() -> None:
    """A ``Retry-After`` date is read by the server's own clock."""
    server = ScriptedServer()
    refusal = answer({}, 503, **{"Retry-After": "Sat, 22 Nov 2025 00:20:00 GMT"})
    server.version(9012, refusal, COMPLETED)
    await JobWatcher(server.client()).wait(REF)
    assert server.polls(9012) == [0, 1200]


@pytest.mark.parametrize("status", [500, 502, 504])
@virtual_time
async def test_any_failure_may_have_a_retry_after(status: int) -> None:
    """A ``Retry-After`` on any other failure delays at least this job's polls."""
    server = ScriptedServer()
    server.version(9012, httpx.Response(status, headers={"Retry-After": "100"}), COMPLETED)
    await JobWatcher(server.client(), interval=5).wait(REF)
    assert server.polls(9012) == [0, 100]


@virtual_time
async def test_a_joining_watch_respects_retry_after() -> None:
    """A watch that joins before ``Retry-After`` has passed waits like the others."""
    server = ScriptedServer()
    server.version(9012, httpx.Response(500, headers={"Retry-After": "100"}), COMPLETED)
    watcher = JobWatcher(server.client(), interval=5)
    async with asyncio.TaskGroup() as group:
        group.create_task(watcher.wait(REF))
        await asyncio.sleep(30)
        await watcher.wait(REF)
    assert server.polls(9012) == [0, 100]


@virtual_time
async def test_a_failure_after_retry_after_counts_against_the_tolerance() -> None:
    """If ``Retry-After`` exceeds the tolerance, the next failure is raised."""
    server = ScriptedServer()
    server.version(9012, httpx.Response(429, headers={"Retry-After": "600"}))
    with pytest.raises(RateLimitError) as caught:
        await JobWatcher(server.client(), outage_tolerance=300).wait(REF)
    assert caught.value.retry_after == 600
    assert server.polls(9012) == [0, 600]


@virtual_time
async def test_a_failing_job_does_not_disturb_the_others() -> None:
    """An outage of one job does not affect the polls of the others."""
    server = ScriptedServer()
    server.version(1, httpx.ReadError("reset"))
    server.version(2, *[wire(2)] * 9, wire(2, JobState.COMPLETED))
    server.version(3, *[wire(3)] * 9, wire(3, JobState.FAILED))
    watcher = JobWatcher(server.client(), interval=10, outage_tolerance=60)
    first, second, third = await watcher.wait_all(JobRef.image_version(job_id) for job_id in (1, 2, 3))
    assert isinstance(first.error, TransportError)
    assert second.ok
    assert isinstance(third.error, JobFailedError)
    assert (first.elapsed, second.elapsed, third.elapsed) == (60, 90, 90)


@virtual_time
async def test_an_unexpected_error_ends_the_watch() -> None:
    """An error of another kind, such as a bug in a transport, is raised in every watch of the job."""

    class Broken(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise LookupError(str(request.url.path))

    watcher = JobWatcher(ScriptedServer().client(transport=Broken()))
    with pytest.raises(LookupError, match="imageversion/9012"):
        await watcher.wait(REF)
    first, second = await watcher.wait_all([REF, REF])
    assert isinstance(first.error, LookupError)
    assert isinstance(second.error, LookupError)


@pytest.mark.parametrize(("interval", "tolerance"), [(0.05, 0.5), (0.1, 0.3), (0.7, 2.1), (1 / 3, 1.0)])
@virtual_time
async def test_rounding_does_not_prolong_an_outage(interval: float, tolerance: float) -> None:
    """If the tolerance is a multiple of the interval, the watch ends on time on a clock that only sleeping moves."""
    server = ScriptedServer()
    server.version(9012, httpx.Response(500))
    watcher = JobWatcher(server.client(), interval=interval, outage_tolerance=tolerance)
    [result] = await watcher.wait_all([REF])
    assert isinstance(result.error, ServerError)
    assert result.elapsed == pytest.approx(tolerance)
    assert result.polls <= round(tolerance / interval) + 2
