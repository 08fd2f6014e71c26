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
"""Enough for functions of a handful of numbers, and the suite is run often."""

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


def moments(schedule: RunSchedule, fractions: list[float]) -> list[float]:
    """Spread over the plan's time, with the moments of its own at which something happens."""
    spread = [schedule.created + fraction * (schedule.ended - schedule.created) for fraction in fractions]
    return sorted([*spread, schedule.created, schedule.started, schedule.ended, math.nextafter(schedule.ended, 0)])


def make(run: Run, seed: int = 0, **options: Any) -> RunSchedule:
    return make_schedule(run, random.Random(seed), created=START, **options)


SCHEDULES = st.builds(make, RUNS, st.integers(), speed=st.floats(0.1, 1000))


@FEWER
@given(SCHEDULES, FRACTIONS)
def test_a_job_never_goes_back_within_a_run(schedule: RunSchedule, fractions: list[float]) -> None:
    """State, progress and the moment of the last update only ever grow."""
    looks = [snapshot(schedule, ImageVersionJob, 1, now) for now in moments(schedule, fractions)]
    shown = [(look.state, look.progress, look.updated_at) for look in looks]
    for earlier, later in itertools.pairwise(shown):
        assert all(a <= b for a, b in zip(earlier, later, strict=True))  # type: ignore[operator]


@FEWER
@given(SCHEDULES, st.floats(0.001, 1e9))
def test_an_end_is_final(schedule: RunSchedule, long: float) -> None:
    """From the moment at which it has ended on, nothing about a job changes any more."""
    now = math.nextafter(max(schedule.ended, schedule.created), math.inf)
    end = snapshot(schedule, ImageVersionJob, 1, now)
    assert end.is_terminal
    assert end.state is schedule.outcome
    assert snapshot(schedule, ImageVersionJob, 1, now + long) == end


@FEWER
@given(SCHEDULES, FRACTIONS)
def test_a_job_has_not_ended_before_its_end(schedule: RunSchedule, fractions: list[float]) -> None:
    """Before its end a job is in no terminal state, and shows less than 100 %."""
    for now in moments(schedule, fractions):
        if now < schedule.ended:
            assert not latest_change(schedule, now).state.is_terminal
            assert progress_at(schedule, now) < 100


@FEWER
@given(SCHEDULES, FRACTIONS)
def test_the_times_of_a_job_are_in_order(schedule: RunSchedule, fractions: list[float]) -> None:
    """A job is created, then started, then updated, and by then it is no earlier than any of these."""
    for now in moments(schedule, fractions):
        look = snapshot(schedule, ImageVersionJob, 1, now)
        assert look.created_at <= (look.started_at or look.updated_at) <= look.updated_at
        assert updated_at(schedule, now) <= max(now, schedule.created)
        assert (look.started_at is not None) == (look.state is not None and look.state >= JobState.RUNNING)


@FEWER
@given(RUNS, st.floats(-0.1, 1.5))
def test_a_run_without_estimate_never_makes_one(run: Run, fraction: float) -> None:
    """With ``estimate=False`` there is no eta at any moment."""
    schedule = make(attrs.evolve(run, estimate=False))
    now = schedule.created + fraction * (schedule.ended - schedule.created)
    assert snapshot(schedule, ImageVersionJob, 1, now).eta is None


@FEWER
@given(RUNS)
def test_chance_settles_the_same_every_time(run: Run) -> None:
    """One seed makes one plan."""
    assert make(run, seed=7) == make(run, seed=7)


def test_a_waiting_job_passes_through_all_states() -> None:
    """A job is Created, Pending and Queued while it waits, then Running, then at its end."""
    schedule = make(Run(duration=10, queued_for=10))
    states = [latest_change(schedule, START + seconds).state for seconds in (0, 1, 3, 6, 10, 19, 20)]
    assert [state.value for state in states] == [1, 1, 2, 3, 4, 4, 5]


def test_a_job_that_does_not_wait_is_seen_as_created() -> None:
    """At the moment of its creation a job is Created, whatever comes next."""
    schedule = make(Run(duration=0))
    assert latest_change(schedule, START).state is JobState.CREATED
    assert latest_change(schedule, START + 0.001).state is JobState.COMPLETED


def test_speed_divides_every_duration() -> None:
    """A job of 300 s that waits for 60 s takes a sixtieth of both at a speed of 60."""
    schedule = make(Run(duration=300, queued_for=60), speed=60)
    assert schedule.started == START + 1
    assert schedule.ended == START + 6


@pytest.mark.parametrize(("curve", "half_way"), [(0.5, 70), (1.0, 50), (2.0, 25)])
def test_progress_is_not_linear(curve: float, half_way: int) -> None:
    """Progress follows time by a power: ahead of it below 1, behind it above."""
    schedule = make(Run(duration=100, curve=curve, step=1))
    assert progress_at(schedule, START + 50) == half_way


def test_progress_moves_in_steps_and_each_is_an_update() -> None:
    """Between two steps of its progress a job is not updated."""
    schedule = make(Run(duration=100, curve=1, step=10))
    assert [progress_at(schedule, START + seconds) for seconds in (9.9, 10.1, 19.9)] == [0, 10, 10]
    assert updated_at(schedule, START + 19.9) == pytest.approx(START + 10)


@pytest.mark.parametrize("outcome", ["failed", "squashed"])
def test_a_job_may_end_half_way(outcome: Any) -> None:
    """A job that fails or is squashed ends at a fraction of its time, and its progress stays where it was."""
    schedule = make(Run(duration=100, outcome=outcome, fails_at=0.5, curve=1, step=1))
    assert schedule.ended == START + 50
    assert progress_at(schedule, START + 1000) == 50


def test_only_a_failed_job_has_an_error_and_counts_one() -> None:
    """``joberror`` tells of a failure, when it has happened, and ``jobfailed`` counts it with those before."""
    schedule = make(Run(duration=10, outcome="failed", error="disk full"), failures=2)
    running, failed = (snapshot(schedule, ImageVersionJob, 1, START + seconds) for seconds in (1, 100))
    assert (running.error, running.failure_count) == (None, 2)
    assert (failed.error, failed.failure_count) == ("disk full", 3)
    squashed = snapshot(make(Run(duration=10, outcome="squashed")), ImageVersionJob, 1, START + 100)
    assert (squashed.error, squashed.failure_count) == (None, 0)


@pytest.mark.parametrize("estimate_error", [-0.5, 0.5])
def test_an_estimate_gets_better(estimate_error: float) -> None:
    """An estimate moves, and errs the less the nearer the end is."""
    schedule = make(Run(duration=100, curve=1, step=1, estimate_error=estimate_error))
    errors = [estimate_at(schedule, START + seconds) or 0 for seconds in (1, 50.5, 99.5)]
    assert [round(error - schedule.completes) for error in errors] == [
        round(estimate_error * remaining) for remaining in (99, 50, 1)
    ]


def test_an_estimate_of_a_failing_job_aims_at_its_completion() -> None:
    """The server does not know that a job is going to fail."""
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
def test_a_run_that_cannot_be_is_refused(option: dict[str, Any]) -> None:
    """A trait out of its range is a ``ValueError`` that names it."""
    with pytest.raises(ValueError, match=f"^{next(iter(option))} must be "):
        Run(**{"duration": 1.0} | option)
