"""Properties of `decide` for any sequence of poll results."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from clanforge_async import (
    APIError,
    ClanforgeError,
    ImageDiffJob,
    ImageVersionJob,
    InvalidResponseError,
    Job,
    JobFailedError,
    JobRef,
    JobState,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    StaleJobError,
    TransportError,
    until_eta,
)
from clanforge_async._watching.decisions import Finished, PollAgain, PollResult, decide
from clanforge_async._watching.state import WatchPolicy, WatchState

NOW = datetime(2025, 11, 22, tzinfo=UTC)
REF = JobRef.image_version(9012, newer_than=NOW)

no_deadline = settings(deadline=None, max_examples=40)  # a busy machine must not fail the tests

moments = st.integers(-7200, 7200).map(lambda offset: NOW + timedelta(seconds=offset))
jobs = st.builds(
    ImageVersionJob,
    id=st.just(9012),
    state=st.sampled_from([*JobState, None]),
    created_at=moments,
    updated_at=st.integers(-3, 3).map(lambda offset: NOW + timedelta(seconds=offset)),
    started_at=st.none() | moments,
    eta=st.none() | moments,
    progress=st.integers(0, 100),
    failure_count=st.integers(0, 5),
    error=st.none() | st.just("no space left"),
)
retry_after = st.none() | st.floats(0, 1200)
transient: st.SearchStrategy[ClanforgeError] = st.one_of(
    st.builds(TransportError, st.just("connection lost"), request_sent=st.booleans()),
    st.builds(RateLimitError, st.just("too many"), status_code=st.just(429), retry_after=retry_after),
    st.builds(ServerError, st.just("broken"), status_code=st.just(503), retry_after=retry_after),
    st.builds(InvalidResponseError, st.just("not JSON")),
)
permanent: st.SearchStrategy[ClanforgeError] = st.sampled_from(
    [
        NotFoundError("no such job", status_code=404),
        PermissionDeniedError("forbidden", status_code=403),
        APIError("an error envelope", status_code=200),
    ],
)
intervals: st.SearchStrategy[Any] = st.sampled_from([until_eta(), until_eta(0.5, 8), 0.25, 5.0, 90.0])


@frozen
class Poll:
    """One poll: its result, its delay, and the server's time."""

    seen: Job | ClanforgeError
    late_by: float
    server_time: datetime


def polls_of(seen: st.SearchStrategy[Any]) -> st.SearchStrategy[Poll]:
    return st.builds(Poll, seen, st.floats(0, 30), moments)


sequences = st.lists(polls_of(st.one_of(jobs, jobs, transient, permanent)), min_size=1, max_size=30)
policies = st.builds(
    WatchPolicy,
    interval=intervals,
    outage_tolerance=st.sampled_from([0.0, 10.0, 300.0]),
    stale_after=st.sampled_from([0.0, 10.0, 120.0]),
)


def run_watch(
    sequence: Sequence[Poll], policy: WatchPolicy, ref: JobRef = REF
) -> tuple[list[float], PollAgain | Finished]:
    """Pass results to `decide` until the watch or the sequence ends; return the polls' times and the last decision."""
    state, at, times = WatchState(ref=ref, began=50.0), 50.0, list[float]()
    for poll in sequence:
        at += poll.late_by
        times.append(at)
        outcome = decide(state, PollResult(seen=poll.seen, at=at, server_time=poll.server_time), policy)
        if isinstance(outcome, Finished):
            break
        state, at = outcome.state, at + outcome.after
    return times, outcome


def series_start(sequence: Sequence[Poll], times: Sequence[float], kind: type[ClanforgeError]) -> float:
    """Return when the unbroken series of failures, or of stale statuses, up to the last poll began."""
    began = times[-1]
    for poll, at in reversed(list(zip(sequence, times, strict=False))):
        if isinstance(poll.seen, Job):
            stale = poll.seen.updated_at < NOW
            if kind is StaleJobError and stale:
                began = at
            else:
                break
        elif kind is not StaleJobError:
            began = at
    return began


@no_deadline
@given(sequences, policies)
def test_a_watch_ends_at_the_right_poll_with_the_right_error(sequence: list[Poll], policy: WatchPolicy) -> None:
    """A watch ends at the first terminal update, at a refusal, or at the end of a tolerance, and at no other poll."""
    times, outcome = run_watch(sequence, policy)
    made = sequence[: len(times)]
    for poll in made[:-1]:
        assert not isinstance(poll.seen, APIError) or isinstance(poll.seen, RateLimitError | ServerError)
        assert not (isinstance(poll.seen, Job) and poll.seen.is_terminal and poll.seen.updated_at >= NOW)
    last = made[-1].seen
    if isinstance(outcome, PollAgain):
        assert len(made) == len(sequence)
        return
    if outcome.news is not None:
        assert outcome.news == last
        assert outcome.news.is_terminal
        assert outcome.news.updated_at >= NOW
        assert isinstance(outcome.result.error, JobFailedError) is (outcome.news.state is not JobState.COMPLETED)
    elif isinstance(outcome.result.error, StaleJobError):
        assert isinstance(last, Job)
        assert last.updated_at < NOW
        assert times[-1] - series_start(made, times, StaleJobError) >= policy.stale_after - 1e-6
    else:
        assert outcome.result.error is last
        if isinstance(last, TransportError | RateLimitError | ServerError | InvalidResponseError):
            assert times[-1] - series_start(made, times, ClanforgeError) >= policy.outage_tolerance - 1e-6


@no_deadline
@given(sequences, policies)
def test_no_tolerance_is_exceeded(sequence: list[Poll], policy: WatchPolicy) -> None:
    """No watch continues beyond its tolerance for failures or stale statuses."""
    times, outcome = run_watch(sequence, policy)
    last = sequence[len(times) - 1].seen
    if isinstance(outcome, Finished):
        return
    if isinstance(last, ClanforgeError):
        began = series_start(sequence[: len(times)], times, ClanforgeError)
        assert times[-1] - began < policy.outage_tolerance + 1e-6
    elif last.updated_at < NOW:
        began = series_start(sequence[: len(times)], times, StaleJobError)
        assert times[-1] - began < policy.stale_after + 1e-6


@no_deadline
@given(sequences, policies)
def test_pauses_are_valid(sequence: list[Poll], policy: WatchPolicy) -> None:
    """A pause is a finite number, not negative, and no shorter than ``Retry-After``."""
    state, at = WatchState(ref=REF, began=50.0), 50.0
    for poll in sequence:
        outcome = decide(state, PollResult(seen=poll.seen, at=at, server_time=poll.server_time), policy)
        if isinstance(outcome, Finished):
            return
        asked_for = (poll.seen.retry_after or 0.0) if isinstance(poll.seen, APIError) else 0.0
        assert outcome.at_least == asked_for
        assert 0.0 <= asked_for <= outcome.after < math.inf
        assert outcome.state.idle_for == state.idle_for + outcome.after
        state, at = outcome.state, at + outcome.after


@no_deadline
@given(st.floats(), jobs)
def test_any_result_of_a_strategy_gives_a_valid_pause_or_raises(said: float, job: Job) -> None:
    """For any float that a strategy returns the pause is at least 0, or `decide` raises."""
    try:
        outcome = decide(
            WatchState(ref=JobRef.image_version(9012), began=0.0),
            PollResult(seen=job, at=1.0, server_time=NOW),
            WatchPolicy(interval=lambda _: said),
        )
    except ValueError:
        assert not math.isfinite(said)
    else:
        assert isinstance(outcome, Finished) or outcome.after == max(said, 0.0)


@no_deadline
@given(st.lists(polls_of(jobs), min_size=1, max_size=20), policies)
def test_unknown_states_and_failure_counts_end_no_watch(sequence: list[Poll], policy: WatchPolicy) -> None:
    """A job that is running or in an unknown state never ends a watch."""
    unfinished = [poll for poll in sequence if isinstance(poll.seen, Job) and not poll.seen.is_terminal]
    if unfinished:
        times, outcome = run_watch(unfinished, policy, JobRef.image_version(9012))
        assert isinstance(outcome, PollAgain)
        assert outcome.state.polls == len(times) == len(unfinished)


@no_deadline
@given(sequences, policies)
def test_only_the_watched_run_is_an_update(sequence: list[Poll], policy: WatchPolicy) -> None:
    """An update is always the job just seen, of the watched run, with the watch's reference."""
    state, at = WatchState(ref=REF, began=50.0), 50.0
    for poll in sequence:
        outcome = decide(state, PollResult(seen=poll.seen, at=at, server_time=poll.server_time), policy)
        fresh = isinstance(poll.seen, Job) and poll.seen.updated_at >= NOW
        received, repeated = outcome.news, poll.seen == state.last_news and isinstance(outcome, PollAgain)
        assert received == (poll.seen if fresh and not repeated else None)
        assert received is None or received.ref == REF
        if isinstance(outcome, Finished):
            return
        state, at = outcome.state, at + outcome.after


@no_deadline
@given(sequences, policies)
def test_a_watch_survives_json_between_polls(sequence: list[Poll], policy: WatchPolicy) -> None:
    """A watch whose state is written as JSON and read after each poll makes the same decisions."""
    here = there = WatchState(ref=REF, began=50.0)
    at = 50.0
    for poll in sequence:
        result = PollResult(seen=poll.seen, at=at, server_time=poll.server_time)
        stayed, moved = decide(here, result, policy), decide(there, result, policy)
        assert stayed.state == moved.state
        if isinstance(stayed, Finished):
            assert isinstance(moved, Finished)
            assert moved.news == stayed.news
            assert repr(moved.result.error) == repr(stayed.result.error)
            return
        assert isinstance(moved, PollAgain)
        assert (moved.after, moved.at_least, moved.news) == (stayed.after, stayed.at_least, stayed.news)
        here, at = stayed.state, at + stayed.after
        there = WatchState.from_dict(json.loads(json.dumps(moved.state.to_dict(), allow_nan=False)))


@no_deadline
@given(
    began=st.floats(0, 1e9),
    interval=st.floats(0.001, 100),
    steps=st.integers(0, 50),
    excess=st.floats(0, 0.1),
    stale=st.booleans(),
)
def test_no_watch_polls_endlessly_at_one_instant(
    began: float, interval: float, steps: int, excess: float, stale: bool
) -> None:
    """On a clock that moves by sleeping only, a watch without news gives up in time, however its times are rounded."""
    tolerance = interval * steps + excess
    policy = WatchPolicy(interval=interval, outage_tolerance=tolerance, stale_after=tolerance)
    retried = JobRef.image_diff(5, newer_than=NOW)
    old = ImageDiffJob(id=5, state=JobState.FAILED, created_at=NOW, updated_at=NOW - timedelta(1))
    seen = old if stale else TransportError("reset", request_sent=True)
    state, at = WatchState(ref=retried, began=began), began
    for _ in range(int(tolerance / min(interval, 1)) + 5):
        outcome = decide(state, PollResult(seen=seen, at=at), policy)
        if isinstance(outcome, Finished):
            break
        assert at + outcome.after > at
        state, at = outcome.state, at + outcome.after
    else:
        pytest.fail("the watch polls for ever")
    assert at - began == pytest.approx(tolerance, abs=1e-5)


@no_deadline
@given(sequences, policies)
def test_decide_is_pure(sequence: list[Poll], policy: WatchPolicy) -> None:
    """A decision depends on the arguments only, and changes none of them."""
    state, at = WatchState(ref=REF, began=50.0), 50.0
    for poll in sequence:
        before = state.to_dict()
        result = PollResult(seen=poll.seen, at=at, server_time=poll.server_time)
        first, second = decide(state, result, policy), decide(state, result, policy)
        assert state.to_dict() == before
        assert repr(first) == repr(second)
        if isinstance(first, Finished):
            return
        state, at = first.state, at + first.after
