from __future__ import annotations

import math
from typing import Any

import pytest
from support.simulator.calling import START, FakeClock

from clanforge_async import ImageDiffJob, ImageVersionJob, JobState
from clanforge_async.simulator import Run, Simulator

CREATED, PENDING, QUEUED, RUNNING, COMPLETED, FAILED, SQUASHED = JobState


async def states_at(simulator: Simulator, clock: FakeClock, *times: float) -> list[JobState | None]:
    """Return the states of image version 1 at some seconds after the start."""
    seen = list[JobState | None]()
    async with simulator.client(max_rate=None) as client:
        for clock.now in (START + seconds for seconds in times):
            seen.append((await client.image_versions.status(1)).state)
    return seen


@pytest.mark.parametrize(
    ("states", "times", "seen"),
    [
        ("created,running:40,failed", (0, 0.5, 1, 40.9, 41, 1e6), [CREATED, CREATED, RUNNING, RUNNING, FAILED, FAILED]),
        ("created:5,pending:5,queued:5,running:5,completed", (4, 9, 14, 19, 20), [*JobState][:5]),
        ("failed", (0, 1e6), [FAILED, FAILED]),
        ("queued:10,squashed", (0, 10), [QUEUED, SQUASHED]),
        ("created,running", (0, 1, 1e9), [CREATED, RUNNING, RUNNING]),
        ("pending", (0, 1e9), [PENDING, PENDING]),
        ("created:0,running:0.5,completed", (0, 0.25, 0.5), [CREATED, RUNNING, COMPLETED]),
        (" Created , RUNNING:2, Completed ", (0, 1, 3), [CREATED, RUNNING, COMPLETED]),
    ],
)
async def test_a_job_passes_through_its_states(states: str, times: tuple[float, ...], seen: list[JobState]) -> None:
    """Each state lasts for its seconds, 1 by default, and the last one never ends."""
    clock = FakeClock()
    simulator = Simulator(clock=clock)
    simulator.add_image_version(1, states=states)
    assert await states_at(simulator, clock, *times) == seen


async def test_speed_divides_the_seconds_of_states() -> None:
    """A state of 40 s lasts for 4 s at a speed of 10."""
    clock = FakeClock()
    simulator = Simulator(clock=clock, speed=10)
    simulator.add_image_version(1, states="created:10,running:40,completed")
    assert await states_at(simulator, clock, 0.9, 1, 4.9, 5) == [CREATED, RUNNING, RUNNING, COMPLETED]


def test_ended_at_follows_from_the_states() -> None:
    """`ended_at` returns the time of a terminal state, or infinity without one."""
    simulator = Simulator(clock=FakeClock())
    assert simulator.ended_at(simulator.add_image_version(1, states="created,running:40,failed")) == START + 41
    assert simulator.ended_at(simulator.add_image_diff(2, states="created,queued")) == math.inf


async def job_after(states: str, seconds: float) -> ImageVersionJob:
    """Return a job with these states, some seconds after its creation."""
    clock = FakeClock()
    simulator = Simulator(clock=clock)
    simulator.add_image_version(1, states=states, curve=1, step=1, estimate_error=0, error="disk full")
    clock.advance(seconds)
    async with simulator.client() as client:
        return await client.image_versions.status(1)


async def test_fields_of_a_job_follow_from_its_states() -> None:
    """Progress, estimate, start time and error match the states."""
    queued, running, done = [await job_after("queued:10,running:40,completed", seconds) for seconds in (5, 30, 50)]
    assert (queued.progress, running.progress, done.progress) == (0, 50, 100)
    assert queued.started_at is None
    assert running.eta == done.eta == done.updated_at
    assert (running.error, (await job_after("running:40,failed", 40)).error) == (None, "disk full")
    assert (await job_after("queued:10,failed", 10)).is_failed


@pytest.mark.parametrize("state", ["created", "queued", "running"])
async def test_a_job_that_never_ends_is_overdue(state: str) -> None:
    """A job that never leaves a state has an ETA one hour after the start of that state."""
    early, late = await job_after(state, 1800), await job_after(state, 1e6)
    assert early.eta == late.eta
    assert late.eta is not None
    assert late.eta.timestamp() == math.floor(START + 3600)
    assert (early.progress, late.progress) == ((50, 99) if state == "running" else (0, 0))


async def states_after_retries(**fields: Any) -> list[tuple[JobState | None, JobState | None]]:
    """Return the states of a diff in the response to a retry and 100 s later, for three retries."""
    clock = FakeClock()
    simulator = Simulator(clock=clock)
    simulator.add_image_diff(1, **fields)
    clock.advance(100)
    seen = list[ImageDiffJob]()
    async with simulator.client() as client:
        for _ in range(3):
            seen.append(await client.image_diffs.retry(1))
            clock.advance(100)
            seen.append(await client.image_diffs.status(1))
    return [(response.state, after.state) for response, after in zip(seen[::2], seen[1::2], strict=True)]


async def test_each_retry_has_its_own_states() -> None:
    """`retries` defines the next runs in order. Further runs have the states of the first, but complete."""
    seen = await states_after_retries(states="created,running:40,failed", retries=["queued:5,failed", Run(duration=50)])
    assert seen == [(CREATED, FAILED), (CREATED, COMPLETED), (CREATED, COMPLETED)]


async def test_a_retry_starts_in_created() -> None:
    """The response to a retry shows Created even if the states begin with a terminal one."""
    assert await states_after_retries(states="failed", retries=["completed"]) == [(CREATED, COMPLETED)] * 3


@pytest.mark.parametrize("states", ["failed", "created,running:40,failed"])
async def test_a_failed_diff_completes_after_a_retry(states: str) -> None:
    """Without `retries` a failed diff completes in its next run."""
    assert await states_after_retries(states=states) == [(CREATED, COMPLETED)] * 3


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ("created,runing:40,failed", "'runing' is not one of created, pending, queued, running, completed, failed"),
        ("", "'' is not one of created"),
        ("created,,failed", "'' is not one of created"),
        ("created,running:40", "the last state never ends, so it takes no number of seconds"),
        ("created,running:soon,failed", "'soon' is not a number of seconds"),
        ("created,running:,failed", "'' is not a number of seconds"),
        ("created,running:-1,failed", "'-1' is not a number of seconds"),
        ("created,running:inf,failed", "'inf' is not a number of seconds"),
        ("running,created", "created cannot come after running"),
        ("running,running", "running cannot come after running"),
        ("completed,failed", "failed cannot come after completed"),
    ],
)
def test_invalid_states_raise(states: str, message: str) -> None:
    """The error quotes the states and names the mistake."""
    with pytest.raises(ValueError, match=f"^states {states!r}: {message}"):
        Simulator().add_image_version(1, states=states)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "a run needs either a duration or states"),
        ({"states": "failed", "duration": 1}, "a run needs either a duration or states"),
        ({"states": "failed", "outcome": "failed"}, "states define the outcome and all times"),
        ({"states": "failed", "queued_for": 1}, "states define the outcome and all times"),
        ({"states": "failed", "fails_at": 0.5}, "states define the outcome and all times"),
    ],
)
def test_a_run_needs_either_duration_or_states(fields: dict[str, Any], message: str) -> None:
    """A run has either a duration, with an outcome, or states."""
    with pytest.raises(ValueError, match=message):
        Simulator().add_image_version(1, **fields)
