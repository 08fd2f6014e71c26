from __future__ import annotations

import itertools
import math
import random
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.simulator.calling import START

from clanforge_async import ImageVersionJob, JobState
from clanforge_async.simulator import Run
from clanforge_async.simulator.runs import (
    RunSchedule,
    estimate_at,
    latest_change,
    make_schedule,
    progress_at,
    snapshot,
    updated_at,
)

FEWER = settings(max_examples=50)
"""Enough for functions of a few numbers."""

SECONDS = st.one_of(st.just(0.0), st.floats(0.001, 1e6))
RUNS = st.builds(
    Run,
    duration=SECONDS,
    outcome=st.sampled_from(["completed", "failed", "squashed"]),
    queued_for=SECONDS,
    fails_at=st.none() | st.floats(0, 1),
    curve=st.none() | st.floats(0.1, 10),
    step=st.none() | st.integers(1, 100),
    estimate=st.booleans(),
    estimate_error=st.none() | st.floats(-0.9, 2),
)
FRACTIONS = st.lists(st.floats(-0.1, 1.5), min_size=2, max_size=6).map(sorted)


def sample_times(schedule: RunSchedule, fractions: list[float]) -> list[float]:
    """Return times spread over a schedule, and the times of its changes."""
    spread = [schedule.created + fraction * (schedule.ended - schedule.created) for fraction in fractions]
    return sorted([*spread, schedule.created, schedule.started, schedule.ended, math.nextafter(schedule.ended, 0)])


def make(run: Run, seed: int = 0, **options: Any) -> RunSchedule:
    return make_schedule(run, random.Random(seed), created=START, **options)


SCHEDULES = st.builds(make, RUNS, st.integers(), speed=st.floats(0.1, 1000))


@FEWER
@given(SCHEDULES, FRACTIONS)
def test_a_job_never_goes_back_within_a_run(schedule: RunSchedule, fractions: list[float]) -> None:
    """State, progress and the time of the last update never decrease."""
    jobs = [snapshot(schedule, ImageVersionJob, 1, now) for now in sample_times(schedule, fractions)]
    shown = [(job.state, job.progress, job.updated_at) for job in jobs]
    for earlier, later in itertools.pairwise(shown):
        assert all(a <= b for a, b in zip(earlier, later, strict=True))  # type: ignore[operator]


@FEWER
@given(SCHEDULES, st.floats(0.001, 1e9))
def test_a_terminal_state_is_final(schedule: RunSchedule, long: float) -> None:
    """A job does not change after its end."""
    now = math.nextafter(max(schedule.ended, schedule.created), math.inf)
    end = snapshot(schedule, ImageVersionJob, 1, now)
    assert end.is_terminal
    assert end.state is schedule.outcome
    assert snapshot(schedule, ImageVersionJob, 1, now + long) == end


@FEWER
@given(SCHEDULES, FRACTIONS)
def test_a_job_is_not_terminal_before_its_end(schedule: RunSchedule, fractions: list[float]) -> None:
    """Before its end a job is in no terminal state, with a progress below 100 %."""
    for now in sample_times(schedule, fractions):
        if now < schedule.ended:
            assert not latest_change(schedule, now).state.is_terminal
            assert progress_at(schedule, now) < 100


@FEWER
@given(SCHEDULES, FRACTIONS)
def test_times_of_a_job_are_in_order(schedule: RunSchedule, fractions: list[float]) -> None:
    """Creation, start and last update are in this order and never in the future."""
    for now in sample_times(schedule, fractions):
        job = snapshot(schedule, ImageVersionJob, 1, now)
        assert job.created_at <= (job.started_at or job.updated_at) <= job.updated_at
        assert updated_at(schedule, now) <= max(now, schedule.created)
        assert (job.started_at is not None) == (job.state is not None and job.state >= JobState.RUNNING)


@FEWER
@given(RUNS, st.floats(-0.1, 1.5))
def test_a_run_without_estimate_has_no_eta(run: Run, fraction: float) -> None:
    """With ``estimate=False`` a job has no ETA at any time."""
    schedule = make(attrs.evolve(run, estimate=False))
    now = schedule.created + fraction * (schedule.ended - schedule.created)
    assert snapshot(schedule, ImageVersionJob, 1, now).eta is None


@FEWER
@given(RUNS)
def test_a_seed_gives_one_schedule(run: Run) -> None:
    """The same seed gives the same schedule."""
    assert make(run, seed=7) == make(run, seed=7)


def test_a_queued_job_passes_through_all_states() -> None:
    """A job that waits is Created, Pending, Queued, Running and Completed in order."""
    schedule = make(Run(duration=10, queued_for=10))
    states = [latest_change(schedule, START + seconds).state for seconds in (0, 1, 3, 6, 10, 19, 20)]
    assert [state.value for state in states] == [1, 1, 2, 3, 4, 4, 5]


def test_a_job_without_wait_is_created_first() -> None:
    """At the time of its creation, a job is Created, even if it ends immediately."""
    schedule = make(Run(duration=0))
    assert latest_change(schedule, START).state is JobState.CREATED
    assert latest_change(schedule, START + 0.001).state is JobState.COMPLETED


def test_speed_divides_every_duration() -> None:
    """At a speed of 60 a job of 300 s that waits for 60 s takes a sixtieth of both."""
    schedule = make(Run(duration=300, queued_for=60), speed=60)
    assert schedule.started == START + 1
    assert schedule.ended == START + 6


@pytest.mark.parametrize(("curve", "half_time"), [(0.5, 70), (1.0, 50), (2.0, 25)])
def test_progress_is_not_linear(curve: float, half_time: int) -> None:
    """Progress is a power of the fraction of time: ahead of it for exponents below 1, behind it above."""
    schedule = make(Run(duration=100, curve=curve, step=1))
    assert progress_at(schedule, START + 50) == half_time


def test_each_step_of_progress_is_an_update() -> None:
    """A job is not updated between two steps of its progress."""
    schedule = make(Run(duration=100, curve=1, step=10))
    assert [progress_at(schedule, START + seconds) for seconds in (9.9, 10.1, 19.9)] == [0, 10, 10]
    assert updated_at(schedule, START + 19.9) == pytest.approx(START + 10)


@pytest.mark.parametrize("outcome", ["failed", "squashed"])
def test_a_failed_job_keeps_its_progress(outcome: Any) -> None:
    """A job that fails or is squashed ends after a fraction of its duration and keeps its progress."""
    schedule = make(Run(duration=100, outcome=outcome, fails_at=0.5, curve=1, step=1))
    assert schedule.ended == START + 50
    assert progress_at(schedule, START + 1000) == 50


def test_only_a_failed_job_has_an_error() -> None:
    """A failed job shows an error and counts the failure; a running or squashed one does neither."""
    schedule = make(Run(duration=10, outcome="failed", error="disk full"), failures=2)
    running, failed = (snapshot(schedule, ImageVersionJob, 1, START + seconds) for seconds in (1, 100))
    assert (running.error, running.failure_count) == (None, 2)
    assert (failed.error, failed.failure_count) == ("disk full", 3)
    squashed = snapshot(make(Run(duration=10, outcome="squashed")), ImageVersionJob, 1, START + 100)
    assert (squashed.error, squashed.failure_count) == (None, 0)


@pytest.mark.parametrize("estimate_error", [-0.5, 0.5])
def test_estimates_become_more_precise(estimate_error: float) -> None:
    """The error of an estimate is proportional to the remaining time."""
    schedule = make(Run(duration=100, curve=1, step=1, estimate_error=estimate_error))
    errors = [estimate_at(schedule, START + seconds) or 0 for seconds in (1, 50.5, 99.5)]
    assert [round(error - schedule.completes) for error in errors] == [
        round(estimate_error * remaining) for remaining in (99, 50, 1)
    ]


def test_the_estimate_ignores_a_later_failure() -> None:
    """The ETA of a job that will fail is the time at which it would complete."""
    schedule = make(Run(duration=100, outcome="failed", fails_at=0.2, estimate_error=0.0))
    assert estimate_at(schedule, START + 10) == START + 100


@pytest.mark.parametrize(
    "option",
    [
        {"duration": -1.0},
        {"duration": math.inf},
        {"duration": math.nan},
        {"queued_for": -1.0},
        {"fails_at": 1.5},
        {"curve": 0.0},
        {"step": 0},
        {"step": 101},
        {"estimate_error": -1.0},
        {"outcome": "lost"},
    ],
)
def test_an_invalid_option_raises(option: dict[str, Any]) -> None:
    """The `ValueError` names an option that is out of its range."""
    with pytest.raises(ValueError, match=f"^{next(iter(option))} must be "):
        Run(**{"duration": 1.0} | option)
