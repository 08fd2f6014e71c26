"""An ETA that moves along with the clock: a server that doesn't know the end clamps it to now, or to a lag from now."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

import pytest
from attrs import evolve, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from clanforge_async import ImageVersionJob, JobRef, JobState, until_eta
from clanforge_async._polling.forecast import ForecastState, Sample, update_forecast
from clanforge_async._watching.decisions import PollAgain, PollResult, decide
from clanforge_async._watching.state import WatchPolicy, WatchState

STARTED = datetime(2025, 11, 22, tzinfo=UTC)
HOUR = 3600.0
POLICY = WatchPolicy(interval=until_eta())
MAX_POLLS_PER_HOUR = 240
"""After the first hour."""
MAX_NOISE = 12
"""Polls by which an hour may exceed the one before, by chance."""


@frozen(kw_only=True)
class ClampedServer:
    """Reports an ETA for a job that doesn't end.

    Attributes:
        estimate: Seconds after the start at which the job was expected to end.
        lag: The minimum seconds from now to the ETA, which may be negative.
        speed: Seconds per second by which the estimate itself moves.
        jitter: Seconds by which the lag varies from response to response.
        clock_jitter: Seconds by which the ``Date`` of a response varies.
        latency: Maximum seconds that a response takes.
        progress: Percentages that follow each other in the first ten minutes; the last one stays.
        state: The state that the job shows.
        seed: Of the jitters.
    """

    estimate: float = 600.0
    lag: float = 0.0
    speed: float = 0.0
    jitter: float = 0.0
    clock_jitter: float = 0.0
    latency: float = 0.1
    progress: tuple[int, ...] = (0,)
    state: JobState = JobState.RUNNING
    seed: int = 0

    def job(self, at: float, rng: Random) -> ImageVersionJob:
        """Return the job that it shows so many seconds after the start."""
        eta = max(self.estimate + self.speed * at, at + self.lag + rng.uniform(-self.jitter, self.jitter))
        part = min(int(at / 600 * len(self.progress)), len(self.progress) - 1)
        return ImageVersionJob(
            id=9012,
            state=self.state,
            created_at=STARTED,
            started_at=STARTED if self.state is JobState.RUNNING else None,
            updated_at=whole_second(at),
            eta=whole_second(eta),
            progress=self.progress[part],
        )


def whole_second(at: float) -> datetime:
    return STARTED + timedelta(seconds=int(at // 1))


def identical(state: WatchState) -> WatchState:
    return state


def through_json(state: WatchState) -> WatchState:
    return WatchState.from_dict(json.loads(json.dumps(state.to_dict(), allow_nan=False)))


def polls_per_hour(
    server: ClampedServer, hours: int = 10, store: Callable[[WatchState], WatchState] = identical
) -> list[int]:
    """Return the number of polls in each hour."""
    polls, at, rng, state = [0] * hours, 0.0, Random(server.seed), WatchState(ref=JobRef.image_version(9012), began=0.0)
    while at < hours * HOUR:
        polls[int(at / HOUR)] += 1
        now = whole_second(at + rng.uniform(-server.clock_jitter, server.clock_jitter))
        outcome = decide(state, PollResult(seen=server.job(at, rng), at=at, server_time=now), POLICY)
        assert isinstance(outcome, PollAgain)
        state, at = store(outcome.state), at + outcome.after + rng.uniform(0.01, server.latency)
    return polls


JOB = ClampedServer(progress=(50,)).job(10.0, Random(0))


def forecast_state(*seen: tuple[ImageVersionJob, float]) -> ForecastState:
    """Return the state after some polls, each at so many seconds by the server's clock."""
    state = ForecastState()
    for job, at in seen:
        state = update_forecast(state, Sample.of(job, whole_second(at)))
    return state


def assert_few_and_falling(polls: list[int]) -> None:
    assert max(polls[1:]) <= MAX_POLLS_PER_HOUR, polls
    assert all(later <= earlier + MAX_NOISE for earlier, later in pairwise(polls)), polls
    assert polls[-1] <= MAX_POLLS_PER_HOUR / 2, polls


@pytest.mark.parametrize("progress", [(0,), (99,), tuple(range(100))], ids=["0", "99", "to-99"])
@pytest.mark.parametrize("lag", [-600.0, -30.0, -1.0, 0.0, 1.0, 2.0, 30.0, 600.0])
def test_an_eta_that_is_clamped_to_now_is_polled_less_and_less(lag: float, progress: tuple[int, ...]) -> None:
    """An ETA that stays at a constant lag from now doesn't hold the polls at the minimum pause."""
    assert_few_and_falling(polls_per_hour(ClampedServer(lag=lag, progress=progress)))
    assert_few_and_falling(polls_per_hour(ClampedServer(estimate=0.0, lag=lag, progress=progress)))


servers = st.builds(
    ClampedServer,
    estimate=st.sampled_from([0.0, 60.0, 600.0]),
    lag=st.floats(-600, 600) | st.floats(-5, 5),
    speed=st.sampled_from([0.0, 0.3, 0.5]),
    jitter=st.sampled_from([0.0, 1.0, 5.0, 30.0]),
    clock_jitter=st.sampled_from([0.0, 0.6, 2.0, 5.0]),
    latency=st.sampled_from([0.1, 3.0]),
    progress=st.sampled_from([(0,), (99,), (100,), tuple(range(100))]),
    state=st.sampled_from([JobState.RUNNING, JobState.RUNNING, JobState.QUEUED]),
    seed=st.integers(0, 2**32),
)


@settings(deadline=None, max_examples=40)
@given(servers)
def test_any_receding_eta_is_polled_less_and_less(server: ClampedServer) -> None:
    """No lag, clamp or jitter of an ETA that moves with the clock causes more than 240 polls an hour for long."""
    assert_few_and_falling(polls_per_hour(server))


@settings(deadline=None, max_examples=15)
@given(servers)
def test_a_receding_eta_survives_json(server: ClampedServer) -> None:
    """A watch whose state is stored as JSON between polls has the same pauses."""
    assert polls_per_hour(server, 2, through_json) == polls_per_hour(server, 2)


def test_an_eta_that_is_revised_once_is_soon_used_again() -> None:
    """After a single revision by hours, a poll still follows right after the end."""
    state, at = WatchState(ref=JobRef.image_version(9012), began=0.0), 0.0
    end = 2 * HOUR
    while at < end:
        job = ClampedServer(estimate=end if at > 590 else 600.0, lag=-HOUR * 10).job(at, Random(0))
        outcome = decide(state, PollResult(seen=job, at=at, server_time=whole_second(at)), POLICY)
        assert isinstance(outcome, PollAgain)
        state, at = outcome.state, at + outcome.after
    assert at - end < 5


@pytest.mark.parametrize("lag", [0.0, 600.0])
def test_the_wait_of_a_job_does_not_blur_its_run(lag: float) -> None:
    """An ETA that moves with the clock while the job is queued, and is then constant, is exact for the run."""
    state, at = WatchState(ref=JobRef.image_version(9012), began=0.0), 0.0
    start, end = 2 * HOUR, 2 * HOUR + 600.0
    queued = ClampedServer(estimate=0.0, lag=lag, state=JobState.QUEUED)
    running = ClampedServer(estimate=end, lag=-HOUR)
    while at < end:
        job = queued.job(at, Random(0))
        if at >= start:
            job = evolve(running.job(at, Random(0)), started_at=whole_second(start))
        outcome = decide(state, PollResult(seen=job, at=at, server_time=whole_second(at)), POLICY)
        assert isinstance(outcome, PollAgain)
        state, at = outcome.state, at + outcome.after
    assert at - end < 5


def test_clocks_that_differ_a_little_do_not_start_over() -> None:
    """Replicas whose clocks differ by seconds share a forecast; after a clock was set back, a new one starts."""
    seen = [(JOB, 100.0), (JOB, 130.0)]
    together, apart = forecast_state(*seen, (JOB, 125.0)), forecast_state(*seen, (JOB, 20.0))
    assert together.last is not None
    assert apart.last is not None
    assert together.last.now == STARTED.timestamp() + 130.5
    assert apart.last.now == STARTED.timestamp() + 20.5
