"""The server's time of a poll: ``Date``, or the local wall clock read once, and never before the job's last update."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import formatdate

import httpx
import pytest
from support.scripted_server import START, Answer, ScriptedServer, server_now, wire
from support.virtual_time import now, virtual_time

from clanforge_async import JobRef, JobState, JobWatcher

SECONDS = 3600
REF = JobRef.image_version(9012)

Dates = Callable[[], dict[str, str]]


def no_date() -> dict[str, str]:
    return {}


def right_date() -> dict[str, str]:
    return {"Date": formatdate(server_now(), usegmt=True)}


def frozen_date() -> dict[str, str]:
    return {"Date": formatdate(START, usegmt=True)}


def status(*, eta: bool = True, progress: bool = True, updates: bool = True) -> dict[str, object]:
    """Return the status of a job that takes an hour, with the fields that its server reports."""
    done = now() >= SECONDS
    return wire(
        9012,
        JobState.COMPLETED if done else JobState.RUNNING,
        jobcreated=START,
        jobstart=str(START),
        jobeta=START + SECONDS if eta else None,
        jobprogress=min(int(now() / SECONDS * 100), 100) if progress else 0,
        jobupdated=START + int(now()) if updates or done else START,
    )


async def watch(date: Dates, **known: bool) -> tuple[int, float]:
    """Watch the job, and return the number of polls and the delay of the last one."""
    server = ScriptedServer()

    async def show() -> Answer:
        return httpx.Response(200, json=status(**known), headers=date())

    server.on("imageversion/status", 9012, show)
    async with server.client() as client, JobWatcher(client) as watcher:
        [result] = await watcher.wait_all([REF])
    assert result.ok
    return result.polls, now() - SECONDS


CLOCKS = {
    "right": lambda _: 0.0,
    "an hour behind": lambda _: -3600.0,
    "five minutes behind": lambda _: -300.0,
    "an hour ahead": lambda _: 3600.0,
    "frozen": lambda at: -at,
    "set back meanwhile": lambda at: -7200.0 if at > 600 else 0.0,
    "jumping": lambda at: 3600.0 * (int(at) % 2),
    "in 1970": lambda _: float(-START),
}


@pytest.mark.parametrize("error", CLOCKS.values(), ids=CLOCKS)
@pytest.mark.parametrize("known", [{}, {"eta": False}, {"progress": False}], ids=["all", "progress", "eta"])
def test_a_wrong_local_clock_costs_no_polls_without_date(
    error: Callable[[float], float], known: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that strips ``Date`` costs few polls and little delay, however wrong the local clock is."""

    @virtual_time
    async def run() -> None:
        monkeypatch.setattr(time, "time", lambda: server_now() + error(now()))
        polls, delay = await watch(no_date, **known)
        assert polls < 130
        assert delay < 60

    run()


@pytest.mark.parametrize("known", [{}, {"eta": False}, {"progress": False}], ids=["all", "progress", "eta"])
def test_a_frozen_date_costs_no_polls(known: dict[str, bool]) -> None:
    """A cache that freezes ``Date`` but not the status causes as many polls as a correct ``Date``."""

    @virtual_time
    async def run() -> None:
        polls, delay = await watch(frozen_date, **known)
        assert polls < 130
        assert delay < 60

    run()


@virtual_time
async def test_the_wall_clock_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The local wall clock is read at the first poll without ``Date``, and not again by the same watcher."""
    reads: list[float] = []

    def read() -> float:
        reads.append(now())
        return server_now()

    monkeypatch.setattr(time, "time", read)
    server = ScriptedServer()
    for job_id in (1, 2):
        answers = [wire(job_id), wire(job_id), wire(job_id, JobState.COMPLETED)]
        server.version(job_id, *(httpx.Response(200, json=answer) for answer in answers))
    client = server.client()
    watcher = JobWatcher(client, interval=10)
    before = len(reads)
    await watcher.wait_all([JobRef.image_version(1), JobRef.image_version(2)])
    assert reads[before:] == [0]


@virtual_time
async def test_an_update_in_the_last_possible_year(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server with absurd times ends no watch."""
    monkeypatch.setattr(time, "time", server_now)
    server = ScriptedServer()
    last = 253_402_300_799  # the end of the year 9999
    changes = [wire(9012, jobupdated=last), wire(9012, jobupdated=last, jobprogress=60)]
    final = wire(9012, JobState.COMPLETED, jobupdated=last)
    server.version(9012, *(httpx.Response(200, json=body) for body in (*changes, final)))
    assert (await JobWatcher(server.client(), interval=10).wait(REF)).is_completed


@virtual_time
async def test_date_decides_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a ``Date``, the local wall clock is not read."""
    monkeypatch.setattr(time, "time", lambda: 1 / 0)
    polls, delay = await watch(right_date, updates=False)
    assert (polls < 100, delay < 10) == (True, True)
