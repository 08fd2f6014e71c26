"""`TemporalWatcher` gives the results, updates and errors of `JobWatcher`, over one table of scenarios."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from attrs import evolve, frozen
from support.scripted_server import START, Answer, Script, ScriptedServer, in_turn, wire
from support.temporal.dev_server import DevServer
from support.virtual_time import now
from temporalio.worker import Worker

from clanforge_async import ClanforgeError, ImageDiffJob, Job, JobKind, JobRef, JobState, JobWatcher, WatchResult
from clanforge_async import job_from_dict as read_job
from clanforge_async.temporal import ClanforgePlugin, TemporalWatcher

DONE = wire(1, JobState.COMPLETED)
OPTIONS: dict[str, Any] = {"interval": 0.5, "outage_tolerance": 3.0, "stale_after": 4.0}
"""Tolerances of the watches: short, so that the tests are quick."""


def in_steps(*answers: Answer) -> Callable[[], Script]:
    """Return the script of a job that shows each response for 2.5 seconds, and the last one from then on."""

    def script() -> Script:
        began: list[float] = []

        def answer() -> Answer:
            began.append(now())
            return answers[min(int((now() - began[0]) / 2.5), len(answers) - 1)]

        return answer

    return script


def always(*answers: Answer) -> Callable[[], Script]:
    """Return the script of a job that shows each response once, and then always the last one."""
    return lambda: in_turn(*answers)


async def hang() -> Answer:
    await asyncio.Event().wait()
    raise AssertionError


STARTED = read_job(JobKind.IMAGE_VERSION, wire(1))
FAILED = read_job(JobKind.IMAGE_VERSION, wire(1, JobState.FAILED))
LISTING = {f"maps/{number}.pak": {"size": number} for number in range(2000)}
SCENARIOS: dict[str, tuple[Callable[[], Script], dict[str, Any]]] = {
    "completed": (in_steps(wire(1, JobState.QUEUED), wire(1), wire(1, jobprogress=80), DONE), {}),
    "failed": (always(wire(1), wire(1, JobState.FAILED, joberror="no space left")), {}),
    "squashed": (always(wire(1, JobState.SQUASHED)), {}),
    "unknown state": (in_steps(wire(1, jobstateid=8, jobstatename="Musing"), DONE), {}),
    "ended before": (always(wire(1)), {"target": FAILED}),
    "job as target": (always(wire(1), DONE), {"target": STARTED}),
    "waits for the new run": (
        in_steps(wire(1, JobState.FAILED), wire(1, jobupdated=START + 60), DONE | {"jobupdated": START + 90}),
        {"target": evolve(FAILED, newer_than=FAILED.updated_at + timedelta(seconds=1))},
    ),
    "stale": (always(DONE), {"target": evolve(STARTED.ref, newer_than=STARTED.updated_at + timedelta(days=1))}),
    "timed out": (always(wire(1)), {"timeout": 8.0}),
    "hangs at the deadline": (lambda: hang, {"timeout": 2.0}),
    "no time": (always(wire(1)), {"timeout": 0.0}),
    "timed out in an outage": (always(wire(1), httpx.Response(503, text="no upstream")), {"timeout": 3.2}),
    "outage that passes": (always(wire(1), httpx.Response(500), httpx.Response(502), DONE), {}),
    "outage for good": (always(httpx.Response(500, text="broken")), {}),
    "unreadable": (always(httpx.Response(200, text="<html>")), {}),
    "not found": (always(httpx.Response(404, text="no such job")), {}),
    "wrong keys": (always(httpx.Response(401, text="wrong keys")), {}),
    "large listing": (
        always(wire(1, added=LISTING), wire(1, JobState.FAILED, added=LISTING, joberror="x" * 100_000)),
        {"target": JobRef.image_diff(1)},
    ),
}


@frozen
class Outcome:
    """The result, error and updates of a watch, as its caller sees them."""

    result: WatchResult
    updates: list[Job]


async def run_all(server: DevServer) -> dict[str, tuple[Outcome, Outcome]]:
    """Run each scenario by both watchers, all at the same time, and return the outcomes."""
    api, other, temporal, queue = ScriptedServer(), ScriptedServer(), await server.connect(), "parity"
    async with (
        api.client() as client,
        other.client() as polled,
        JobWatcher(client, **OPTIONS) as watcher,
        Worker(temporal, task_queue=queue, plugins=[ClanforgePlugin(polled, **OPTIONS)]),
    ):
        submitter, numbers = TemporalWatcher(temporal, task_queue=queue), range(1, len(SCENARIOS) + 1)
        expected, seen = await asyncio.gather(
            asyncio.gather(*(run(api, watcher, number) for number in numbers)),
            asyncio.gather(*(run(other, submitter, number) for number in numbers)),
        )
    return dict(zip(SCENARIOS, zip(expected, seen, strict=True), strict=True))


async def run(api: ScriptedServer, watcher: JobWatcher | TemporalWatcher, number: int) -> Outcome:
    """Run a scenario, whose number is its job's id."""
    make_script, options = list(SCENARIOS.values())[number - 1]
    target: JobRef | Job = options.get("target", JobRef.image_version(1))
    script, updates = make_script(), list[Job]()

    async def answer() -> Answer:
        answered = script()
        body = await answered if isinstance(answered, Awaitable) else answered
        return body | {"diffid": number, "imageversionid": number} if isinstance(body, dict) else body

    for resource in ("imagediff", "imageversion"):
        api.on(f"{resource}/status", number, answer)
    target = evolve(target, id=number)
    [result] = await watcher.wait_all([target], timeout=options.get("timeout"), on_update=updates.append)
    return Outcome(result, updates)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def outcomes(server: DevServer) -> dict[str, tuple[Outcome, Outcome]]:
    """Return the outcomes of all scenarios."""
    return await run_all(server)


def described(error: Exception | None) -> object:
    """Return the class and text of an error, and its last failure and job."""
    if error is None:
        return None
    last: ClanforgeError | None = getattr(error, "last_error", None)
    return type(error), str(error), type(last), str(last), light(getattr(error, "last_job", None))


def light(job: Job | None) -> Job | None:
    """Return a snapshot as Temporal stores it: without listings, and with short texts."""
    if job is None:
        return None
    job = evolve(job, error=job.error and job.error[:2048])
    return evolve(job, added={}, has_listing=False) if isinstance(job, ImageDiffJob) and job.added else job


@pytest.mark.parametrize("name", SCENARIOS)
async def test_temporal_gives_what_a_watcher_gives(outcomes: dict[str, tuple[Outcome, Outcome]], name: str) -> None:
    """Result, error and updates are those of `JobWatcher`; with wrong keys, three more polls are made."""
    expected, seen = outcomes[name]
    assert described(seen.result.error) == described(expected.result.error)
    assert seen.result.job == light(expected.result.job)
    assert seen.result.ref == expected.result.ref
    assert [job.ref for job in seen.updates] == [seen.result.ref] * len(seen.updates)
    assert seen.result.polls == 4 if name == "wrong keys" else bool(seen.result.polls) is bool(expected.result.polls)
    fast = ("failed", "large listing", "outage that passes", "job as target")  # updates less than two seconds apart
    if name in fast:
        assert seen.updates[-1] == light(expected.updates[-1])
    else:
        assert seen.updates == [light(job) for job in expected.updates]
