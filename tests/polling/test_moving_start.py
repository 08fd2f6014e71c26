"""A start time that moves while a job runs: the server doesn't know it, or shows its last contact instead."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import cycle, pairwise

import pytest

from clanforge_async import ImageVersionJob, JobRef, JobState
from clanforge_async._watching.decisions import PollAgain, PollResult, decide
from clanforge_async._watching.state import WatchPolicy, WatchState

ZERO = datetime(2025, 11, 22, tzinfo=UTC)
HOUR = 3600
PROGRESS = (0, 50, 99, 100)


def moment(seconds: float) -> datetime:
    return ZERO + timedelta(seconds=int(seconds))


def polls_per_hour(
    lag: float, step: float, eta: float | None, progress: int, states: Sequence[JobState] = (JobState.RUNNING,)
) -> list[int]:
    """Return the polls in each of six hours if the start lies so many seconds back and moves in steps.

    Each poll shows the next of some states, over and over.
    """
    polls, at, shown = [0] * 6, 0.0, cycle(states)
    state, policy = WatchState(ref=JobRef.image_version(9), began=0.0), WatchPolicy()
    while at < 6 * HOUR:
        polls[int(at / HOUR)] += 1
        job = ImageVersionJob(
            id=9,
            state=next(shown),
            created_at=ZERO,
            started_at=moment(at - at % step - lag),
            updated_at=moment(at),
            eta=None if eta is None else moment(at + eta),
            progress=progress,
        )
        outcome = decide(state, PollResult(seen=job, at=at, server_time=moment(at)), policy)
        assert isinstance(outcome, PollAgain)
        state, at = outcome.state, at + outcome.after + 0.05
    return polls


@pytest.mark.parametrize(
    ("lag", "step", "eta", "progress"),
    [
        (lag, step, eta, PROGRESS[(row + column) % len(PROGRESS)])
        for row, (lag, step) in enumerate([(1.0, 1.0), (30.0, 1.0), (1.0, 20.0), (0.0, 600.0)])
        for column, eta in enumerate([None, 0.0, 30.0, 600.0])
    ],
)
def test_a_start_that_moves_is_polled_less_and_less(lag: float, step: float, eta: float | None, progress: int) -> None:
    """After the first hour there are at most 240 polls an hour, and ever fewer; each two values of a job meet."""
    polls = polls_per_hour(lag, step, eta, progress)
    assert max(polls[1:]) <= 240
    assert all(later <= earlier + 12 for earlier, later in pairwise(polls))
    assert polls[-1] <= 120


@pytest.mark.parametrize("eta", [None, 15.0, 600.0])
@pytest.mark.parametrize("step", [1.0, 100.0, 1e9])
def test_a_job_that_waits_and_runs_by_turns_is_polled_less_and_less(step: float, eta: float | None) -> None:
    """So is a job of which the replicas of a server tell different states."""
    polls = polls_per_hour(5.0, step, eta, 50, (JobState.QUEUED, JobState.RUNNING))
    assert max(polls[1:]) <= 240
    assert all(later <= earlier + 12 for earlier, later in pairwise(polls))
    assert polls[-1] <= 120
