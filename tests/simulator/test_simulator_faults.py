from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
from support.simulator.calling import FakeClock, get, http_client, job

from clanforge_async import JobRef
from clanforge_async.simulator import (
    Drop,
    Envelope,
    Fault,
    GatewayError,
    Latency,
    Route,
    Simulator,
    Stale,
    Truncate,
    Unreadable,
)

STATUS = "imagediff/1/status"
RETRY = "imagediff/1/retry"
JOB = JobRef.image_diff(1)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def simulator(clock: FakeClock) -> Simulator:
    """Two image diffs that have failed, and an image version that has completed."""
    simulator = Simulator(clock=clock)
    for number in (1, 2):
        simulator.add_image_diff(number, duration=10, outcome="failed")
    simulator.add_image_version(1, duration=10)
    clock.advance(20)
    return simulator


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_gateway_error_is_an_html_page(simulator: Simulator, status: int) -> None:
    """A gateway error is an HTML page with its status, and nothing is processed."""
    simulator.faults.add(GatewayError(status))
    response = await get(simulator, RETRY)
    assert response.status_code == status
    assert response.headers["content-type"].startswith("text/html")
    assert f"<title>{status} " in response.text
    assert "retry-after" not in response.headers
    assert simulator.retries_of(JOB) == 0


async def test_a_gateway_error_may_have_retry_after(simulator: Simulator) -> None:
    """``Retry-After`` is a number of seconds, or a date at least that far in the future."""
    simulator.faults.add(GatewayError(429, retry_after=7), times=1)
    simulator.faults.add(GatewayError(503, retry_after=7, as_date=True), times=1)
    first, second = await get(simulator, STATUS), await get(simulator, STATUS)
    assert (first.status_code, first.headers["retry-after"]) == (429, "7")
    until = parsedate_to_datetime(second.headers["retry-after"]).timestamp()
    assert second.status_code == 503
    assert simulator.clock() + 7 <= until < simulator.clock() + 8


@pytest.mark.parametrize("status", [200, 404, 600])
def test_a_gateway_error_is_429_or_5xx(status: int) -> None:
    """Any other status raises."""
    with pytest.raises(ValueError, match="status"):
        GatewayError(status)


@pytest.mark.parametrize(
    ("fault", "acted"),
    [
        (GatewayError(504), False),
        (GatewayError(504, after_acting=True), True),
        (Drop(), False),
        (Drop(after_acting=True), True),
        (Truncate(), True),
        (Unreadable(), True),
        (Unreadable(html=True), True),
        (Envelope("try again"), False),
        (Latency(0), True),
        (Latency(0, after_acting=True), True),
        (Stale(retry_answer=True), True),
    ],
)
async def test_after_acting(simulator: Simulator, fault: Fault, acted: bool) -> None:
    """A failing retry starts a run only if its fault says so."""
    simulator.faults.add(fault, route="image-diff retry")
    with suppress(httpx.RemoteProtocolError):
        await get(simulator, RETRY)
    assert simulator.retries_of(JOB) == int(acted)
    assert (await job(simulator, STATUS))["jobstateid"] == (1 if acted else 6)


@pytest.mark.parametrize(("fault", "said"), [(Drop(), "Server disconnected"), (Truncate(), "peer closed connection")])
async def test_a_lost_connection_in_process(simulator: Simulator, fault: Fault, said: str) -> None:
    """In process, without a connection to close, httpx's own error is raised."""
    simulator.faults.add(fault)
    with pytest.raises(httpx.RemoteProtocolError, match=said):
        await get(simulator, STATUS)


async def test_an_unreadable_body(simulator: Simulator) -> None:
    """The body is HTML, or incomplete JSON with a matching ``Content-Length``, under status 200."""
    simulator.faults.add(Unreadable(html=True), times=1)
    simulator.faults.add(Unreadable(), times=1)
    page, half = await get(simulator, STATUS), await get(simulator, STATUS)
    assert (page.status_code, half.status_code) == (200, 200)
    assert page.text.startswith("<html>")
    assert half.headers["content-type"] == "application/json"
    assert int(half.headers["content-length"]) == len(half.content) > 50
    with pytest.raises(json.JSONDecodeError):
        half.json()


async def test_an_error_envelope_under_any_status(simulator: Simulator) -> None:
    """An envelope has its documented form, with status 200 by default."""
    simulator.faults.add(Envelope("image locked by diffid: 218595"), times=1)
    simulator.faults.add(Envelope("oops", code=12, status=500), times=1)
    locked, oops = await get(simulator, STATUS), await get(simulator, STATUS)
    assert (locked.status_code, oops.status_code) == (200, 500)
    assert locked.json() == {
        "success": False,
        "error": True,
        "error_code": 1,
        "error_message": "image locked by diffid: 218595",
        "messages": [],
        "_debug": [],
    }
    assert (oops.json()["error_code"], oops.json()["error_message"]) == (12, "oops")


@pytest.mark.parametrize("after_acting", [False, True])
async def test_latency_delays_a_response(simulator: Simulator, after_acting: bool) -> None:
    """A response takes at least the latency, by the event loop's clock, and is otherwise the same."""
    simulator.faults.add(Latency(0.02, after_acting=after_acting))
    loop = asyncio.get_running_loop()
    began = loop.time()
    body = await job(simulator, STATUS)
    assert loop.time() - began >= 0.02
    assert body["jobstateid"] == 6


async def test_latency_combines_with_the_next_fault(simulator: Simulator) -> None:
    """A delayed request can also fail; of two conclusive faults the first one added is applied."""
    simulator.faults.add(Latency(0))
    first = simulator.faults.add(GatewayError(502), times=1)
    second = simulator.faults.add(GatewayError(503), times=1)
    assert (await get(simulator, STATUS)).status_code == 502
    assert (first.times, second.times) == (0, 1)
    assert (await get(simulator, STATUS)).status_code == 503
    assert (await get(simulator, STATUS)).status_code == 200


async def test_stale_for_some_seconds(simulator: Simulator, clock: FakeClock) -> None:
    """For some seconds after a retry a status shows the previous run, with its older ``jobupdated``."""
    simulator.faults.add(Stale(5))
    before = await job(simulator, STATUS)
    response = await job(simulator, RETRY)
    assert response["jobstateid"] == 1
    clock.advance(4.9)
    stale = await job(simulator, STATUS)
    assert stale == before
    assert stale["jobupdated"] < response["jobupdated"]
    clock.advance(0.2)
    assert (await job(simulator, STATUS))["jobstateid"] == 4


async def test_stale_for_some_responses(simulator: Simulator) -> None:
    """``times`` counts only requests to which a stale response is possible."""
    simulator.faults.add(Stale(), times=2)
    await job(simulator, STATUS)
    await job(simulator, RETRY)
    await job(simulator, "imageversion/1/status")
    states = [(await job(simulator, STATUS))["jobstateid"] for _ in range(3)]
    assert states == [6, 6, 1]


async def test_stale_response_to_a_retry(simulator: Simulator) -> None:
    """The response to the retry shows the previous run, and the next status the new one."""
    simulator.faults.add(Stale(retry_answer=True), route="image-diff retry")
    assert (await job(simulator, RETRY))["jobstateid"] == 6
    assert (await job(simulator, STATUS))["jobstateid"] == 1


async def test_a_fault_applies_to_its_route_and_job(simulator: Simulator) -> None:
    """A fault is applied only to the call and the job for which it was added."""
    simulator.faults.add(GatewayError(502), route=Route.IMAGE_DIFF_STATUS, id=2)
    paths = ("imagediff/2/status", "imagediff/1/status", "imageversion/1/status", "imagediff/2/retry")
    assert [(await get(simulator, path)).status_code for path in paths] == [502, 200, 200, 200]


async def test_a_fault_without_route_applies_to_all_calls(simulator: Simulator) -> None:
    """By default a fault is applied to every call, before authentication."""
    simulator.faults.add(GatewayError(502))
    for path in ("imagediff/2/status", "imageversion/1/status", "imagediff/2/retry", "imagediff/77/status"):
        assert (await get(simulator, path, auth=None)).status_code == 502


def test_an_unknown_route_raises() -> None:
    """A misspelled route raises instead of matching no request."""
    with pytest.raises(ValueError, match="image-diff delete"):
        Simulator().faults.add(Drop(), route="image-diff delete")


async def test_faults_can_be_removed(simulator: Simulator) -> None:
    """One fault, or all, can be removed; removing a fault twice is not an error."""
    first = simulator.faults.add(GatewayError(502))
    simulator.faults.add(GatewayError(503))
    simulator.faults.add(GatewayError(504))
    seen = [(await get(simulator, STATUS)).status_code]
    simulator.faults.remove(first)
    simulator.faults.remove(first)
    seen.append((await get(simulator, STATUS)).status_code)
    simulator.faults.clear()
    seen.append((await get(simulator, STATUS)).status_code)
    assert seen == [502, 503, 200]


async def statuses_of_jobs(seed: int, order: list[int]) -> dict[int, list[int]]:
    simulator = Simulator(seed=seed)
    for number in set(order):
        simulator.add_image_version(number, duration=1)
    simulator.faults.add(GatewayError(502), probability=0.3)
    seen: dict[int, list[int]] = {}
    async with http_client(simulator) as http:
        for number in order:
            response = await http.get(f"/cfp/v1/imageversion/{number}/status")
            seen.setdefault(number, []).append(response.status_code)
    return seen


async def test_probability_depends_on_seed_and_job() -> None:
    """A job has the same faults regardless of requests for other jobs, and different ones with another seed."""
    order = [1, 2, 3] * 20
    seen = await statuses_of_jobs(0, order)
    assert await statuses_of_jobs(0, sorted(order)) == seen
    assert await statuses_of_jobs(1, order) != seen
    counts = Counter(status for statuses in seen.values() for status in statuses)
    assert 8 < counts[502] < 30


@pytest.mark.parametrize("probability", [-0.1, 1.1])
def test_a_probability_is_from_0_to_1(probability: float) -> None:
    """Any other probability raises."""
    with pytest.raises(ValueError, match="probability"):
        Simulator().faults.add(Drop(), probability=probability)


async def test_a_custom_fault(simulator: Simulator) -> None:
    """A subclass of `Fault` sees the request and changes the response."""

    class Teapot(Fault):
        async def apply(self, request: Any, handler: Any) -> Any:
            response = await handler()
            response.status_code = 418 if request.id == 1 else response.status_code
            return response

    simulator.faults.add(Teapot())
    assert (await get(simulator, STATUS)).status_code == 418
    assert (await get(simulator, "imagediff/2/status")).status_code == 200
