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
from support.simulator.calling import START, FakeClock, caller, get, job

from clanforge_async import JobRef
from clanforge_async.simulator import DEMO_ACCOUNT, Account, Drop, GatewayError, Latency, Simulator, serve


async def test_the_end_of_a_job_is_known_to_the_fraction_of_a_second() -> None:
    """``ended_at`` tells when a job ended or will end, for its reference, its snapshot or its bare id."""
    clock = FakeClock()
    simulator = Simulator(speed=4, clock=clock)
    ref = simulator.add_image_version(1, duration=10)
    assert simulator.ended_at(ref) == simulator.ended_at(1) == START + 2.5
    assert simulator.ended_at(JobRef.parse("image-version/1@1763769600")) == START + 2.5
    clock.advance(100)
    assert simulator.ended_at(ref) == START + 2.5


async def test_the_end_is_that_of_the_latest_run() -> None:
    """After a retry ``ended_at`` is about the new run, and ``retries_of`` counts it."""
    clock = FakeClock()
    simulator = Simulator(clock=clock)
    ref = simulator.add_image_diff(1, duration=10)
    clock.advance(20)
    await job(simulator, "imagediff/1/retry")
    assert simulator.ended_at(ref) == START + 30
    assert simulator.retries_of(ref) == 1


async def test_the_creation_is_that_of_the_latest_run() -> None:
    """``created_at`` tells to the fraction of a second when a job was added, and after a retry when that was."""
    clock = FakeClock()
    simulator = Simulator(clock=clock)
    ref = simulator.add_image_diff(1, duration=10)
    assert simulator.created_at(ref) == simulator.created_at(1) == START
    clock.advance(20)
    await job(simulator, "imagediff/1/retry")
    assert simulator.created_at(ref) == START + 20


def test_an_id_that_two_jobs_have_is_refused() -> None:
    """A bare id names a job only where it is the only one; an unknown one names none."""
    simulator = Simulator()
    simulator.add_image_version(1, duration=10)
    simulator.add_image_diff(1, duration=10)
    with pytest.raises(LookupError, match="2 jobs are called 1"):
        simulator.ended_at(1)
    for unknown in (2, 0, JobRef.image_diff(2)):
        with pytest.raises(LookupError, match="0 jobs"):
            simulator.retries_of(unknown)


async def test_requests_are_counted() -> None:
    """Requests are counted by call and by job, the last ones remembered with time and status."""
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


async def test_the_most_requests_at_once_are_known() -> None:
    """``peak`` is the high-water mark of requests in flight, and afterwards none is."""
    simulator = Simulator()
    simulator.add_image_version(1, duration=10)
    simulator.faults.add(Latency(0.01))
    async with caller(simulator) as http:
        await asyncio.gather(*(http.get("/cfp/v1/imageversion/1/status") for _ in range(5)))
    assert (simulator.requests.peak, simulator.requests.in_flight) == (5, 0)


async def test_chance_does_not_hang_on_the_order_of_adding() -> None:
    """Two simulators of one seed with the same jobs are alike, of two seeds they are not."""

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


async def test_a_server_may_be_ahead_of_its_clients() -> None:
    """A clock with an offset moves ``Date`` and every timestamp alike."""
    clock = FakeClock()
    simulator = Simulator(clock=lambda: clock() + 3600)
    simulator.add_image_version(1, duration=10)
    answer = await get(simulator, "imageversion/1/status")
    assert answer.headers["date"] == "Sat, 22 Nov 2025 01:00:00 GMT"
    assert answer.json()["jobcreated"] == int(START) + 3600


async def test_real_time_is_the_default() -> None:
    """Without a clock jobs run by the computer's, so that a demo needs no more than jobs."""
    simulator = Simulator()
    simulator.add_image_version(1, duration=3600)
    assert (await job(simulator, "imageversion/1/status"))["jobprogress"] == 0


def test_a_job_is_added_once() -> None:
    """An id is taken once for each kind of job."""
    simulator = Simulator()
    simulator.add_image_version(1, duration=1)
    simulator.add_image_diff(1, duration=1)
    with pytest.raises(ValueError, match="image-version/1 already"):
        simulator.add_image_version(1, duration=2)


@pytest.mark.parametrize("bad", [0, -1])
def test_ids_are_positive(bad: int) -> None:
    """An id is one that the API could have given."""
    with pytest.raises(ValueError, match="positive"):
        Simulator().add_image_version(bad, duration=1)


def test_a_job_belongs_to_an_account_of_the_simulator() -> None:
    """A job of an unknown account could be read by nobody."""
    with pytest.raises(ValueError, match="account 5 "):
        Simulator().add_image_version(1, duration=1, account=Account(account_service_id=5))


def test_there_is_an_account() -> None:
    """Without an account nobody could call."""
    with pytest.raises(ValueError, match="account"):
        Simulator(accounts=[])


@pytest.mark.parametrize("speed", [0, -1, math.inf, math.nan])
def test_speed_is_a_positive_number(speed: float) -> None:
    """Time passes, and in finite steps."""
    with pytest.raises(ValueError, match="speed"):
        Simulator(speed=speed)


def test_secrets_stay_out_of_repr() -> None:
    """An account's repr shows whose it is and nothing that opens it."""
    assert repr(DEMO_ACCOUNT) == "Account(account_service_id=1234)"


def test_the_package_does_not_import_the_simulator() -> None:
    """The base package needs no extra, and the simulator no server until it serves."""
    code = (
        "import sys, clanforge_async\n"
        "assert not {'starlette', 'uvicorn', 'clanforge_async.simulator'} & set(sys.modules)\n"
        "import clanforge_async.simulator\n"
        "assert 'uvicorn' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - the code is written above


async def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without starlette or uvicorn the error names the extra."""
    advice = re.escape("pip install 'clanforge-async[simulator]'")
    monkeypatch.delitem(sys.modules, "clanforge_async.simulator.uvicorn_server", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ImportError, match=advice):
        async with serve(Simulator()):
            pass
    monkeypatch.setitem(sys.modules, "starlette", None)
    with pytest.raises(ImportError, match=advice):
        importlib.reload(sys.modules["clanforge_async.simulator"])
