from __future__ import annotations

import asyncio
import importlib
import math
import re
import subprocess
import sys
from typing import Any

import httpx
import pytest
from support.simulator.calling import START, FakeClock, get, http_client, job

from clanforge_async import JobRef
from clanforge_async.simulator import DEMO_ACCOUNT, Account, Drop, GatewayError, Latency, Simulator, serve


async def test_ended_at_is_exact() -> None:
    """`ended_at` returns the past or future end of a job in fractions of a second, by reference or id."""
    clock = FakeClock()
    simulator = Simulator(speed=4, clock=clock)
    ref = simulator.add_image_version(1, duration=10)
    assert simulator.ended_at(ref) == simulator.ended_at(1) == START + 2.5
    assert simulator.ended_at(JobRef.parse("image-version/1@1763769600")) == START + 2.5
    clock.advance(100)
    assert simulator.ended_at(ref) == START + 2.5


async def test_ended_at_is_about_the_latest_run() -> None:
    """After a retry, `ended_at` returns the end of the new run, and `retries_of` counts the retry."""
    clock = FakeClock()
    simulator = Simulator(clock=clock)
    ref = simulator.add_image_diff(1, duration=10)
    clock.advance(20)
    await job(simulator, "imagediff/1/retry")
    assert simulator.ended_at(ref) == START + 30
    assert simulator.retries_of(ref) == 1


async def test_created_at_is_about_the_latest_run() -> None:
    """`created_at` returns the time of the latest retry, or else of the job's addition, in fractions of a second."""
    clock = FakeClock()
    simulator = Simulator(clock=clock)
    ref = simulator.add_image_diff(1, duration=10)
    assert simulator.created_at(ref) == simulator.created_at(1) == START
    clock.advance(20)
    await job(simulator, "imagediff/1/retry")
    assert simulator.created_at(ref) == START + 20


def test_an_ambiguous_or_unknown_id_raises() -> None:
    """An id alone identifies a job only if no other job has it."""
    simulator = Simulator()
    simulator.add_image_version(1, duration=10)
    simulator.add_image_diff(1, duration=10)
    with pytest.raises(LookupError, match="2 jobs match 1"):
        simulator.ended_at(1)
    for unknown in (2, 0, JobRef.image_diff(2)):
        with pytest.raises(LookupError, match="0 jobs"):
            simulator.retries_of(unknown)


async def test_requests_are_counted_and_logged() -> None:
    """Requests are counted by call and job, and logged with time and status."""
    clock = FakeClock()
    simulator = Simulator(clock=clock)
    simulator.add_image_version(1, duration=10)
    simulator.add_image_diff(1, duration=10)
    simulator.faults.add(Drop(), route="image-diff retry")
    simulator.faults.add(GatewayError(503), id=2)
    for path in ("imageversion/1/status", "imageversion/2/status", "imagediff/1/status", "imagediff/x/status", "else"):
        await get(simulator, path)
        clock.advance(1)
    with pytest.raises(httpx.RemoteProtocolError):
        await get(simulator, "imagediff/1/retry")
    requests = simulator.requests
    assert (requests.count(), requests.count("image-version status"), requests.count(id=1)) == (5, 2, 3)
    assert requests.count("image-diff status", id=1) == 1
    assert [(request.at - START, str(request.route), request.id, request.status) for request in requests] == [
        (0, "image-version status", 1, 200),
        (1, "image-version status", 2, 503),
        (2, "image-diff status", 1, 200),
        (3, "image-diff status", None, 404),
        (5, "image-diff retry", 1, None),
    ]


async def test_peak_is_the_most_requests_in_flight() -> None:
    """`peak` is the highest number of requests in flight."""
    simulator = Simulator()
    simulator.add_image_version(1, duration=10)
    simulator.faults.add(Latency(0.01))
    async with http_client(simulator) as http:
        await asyncio.gather(*(http.get("/cfp/v1/imageversion/1/status") for _ in range(5)))
    assert (simulator.requests.peak, simulator.requests.in_flight) == (5, 0)


async def test_random_values_do_not_depend_on_the_order_of_jobs() -> None:
    """Simulators with the same seed and jobs give the same responses; with another seed others."""

    async def bodies(seed: int, ids: list[int]) -> list[Any]:
        clock = FakeClock()
        simulator = Simulator(seed=seed, clock=clock)
        for number in ids:
            simulator.add_image_diff(number, duration=100)
        clock.advance(50)
        return [await job(simulator, f"imagediff/{number}/status") for number in sorted(ids)]

    first = await bodies(0, [1, 2, 3])
    assert await bodies(0, [3, 1, 2]) == first
    assert await bodies(1, [1, 2, 3]) != first
    assert len({body["jobprogress"] for body in first}) > 1


async def test_the_server_clock_may_be_skewed() -> None:
    """A clock with an offset shifts ``Date`` and every timestamp."""
    clock = FakeClock()
    simulator = Simulator(clock=lambda: clock() + 3600)
    simulator.add_image_version(1, duration=10)
    response = await get(simulator, "imageversion/1/status")
    assert response.headers["date"] == "Sat, 22 Nov 2025 01:00:00 GMT"
    assert response.json()["jobcreated"] == int(START) + 3600


async def test_real_time_is_the_default() -> None:
    """Without a ``clock`` jobs run in real time."""
    simulator = Simulator()
    simulator.add_image_version(1, duration=3600)
    assert (await job(simulator, "imageversion/1/status"))["jobprogress"] == 0


def test_a_job_is_added_once() -> None:
    """An id is unique among the jobs of one kind."""
    simulator = Simulator()
    simulator.add_image_version(1, duration=1)
    simulator.add_image_diff(1, duration=1)
    with pytest.raises(ValueError, match="image-version/1 already exists"):
        simulator.add_image_version(1, duration=2)


@pytest.mark.parametrize("bad", [0, -1])
def test_ids_are_positive(bad: int) -> None:
    """An id below 1 raises."""
    with pytest.raises(ValueError, match="positive"):
        Simulator().add_image_version(bad, duration=1)


def test_a_job_needs_an_account_of_the_simulator() -> None:
    """A job cannot be added for an unknown account."""
    with pytest.raises(ValueError, match="account 5 "):
        Simulator().add_image_version(1, duration=1, account=Account(account_service_id=5))


def test_a_simulator_needs_an_account() -> None:
    """A simulator without accounts raises."""
    with pytest.raises(ValueError, match="account"):
        Simulator(accounts=[])


@pytest.mark.parametrize("speed", [0, -1, math.inf, math.nan])
def test_speed_is_a_positive_number(speed: float) -> None:
    """The speed is positive and finite."""
    with pytest.raises(ValueError, match="speed"):
        Simulator(speed=speed)


def test_secrets_stay_out_of_repr() -> None:
    """An account's repr shows its id but no credentials."""
    assert repr(DEMO_ACCOUNT) == "Account(account_service_id=1234)"


def test_the_package_does_not_import_the_simulator() -> None:
    """The package does not import the simulator, and the simulator does not import uvicorn until it serves."""
    code = (
        "import sys, clanforge_async\n"
        "assert not {'starlette', 'uvicorn', 'clanforge_async.simulator'} & set(sys.modules)\n"
        "import clanforge_async.simulator\n"
        "assert 'uvicorn' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - the code is written above


async def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without starlette or uvicorn the error says which extra to install."""
    message = re.escape("pip install 'clanforge-async[simulator]'")
    monkeypatch.delitem(sys.modules, "clanforge_async.simulator.uvicorn_server", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ImportError, match=message):
        async with serve(Simulator()):
            pass
    monkeypatch.setitem(sys.modules, "starlette", None)
    with pytest.raises(ImportError, match=message):
        importlib.reload(sys.modules["clanforge_async.simulator"])
