"""What holds of the rules for every sequence of answers that a server could give."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from clanforge_async import (
    APIError,
    ClanforgeError,
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
from clanforge_async._polling.strategy import strategy
from clanforge_async._watching.decisions import Finished, PollAgain, PollResult, WatchPolicy, WatchState, decide

NOW = datetime(2025, 11, 22, tzinfo=UTC)
REF = JobRef.image_version(9012, newer_than=NOW)

unhurried = settings(deadline=None, max_examples=40)  # a busy machine is no reason to fail

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
passing: st.SearchStrategy[ClanforgeError] = st.one_of(
    st.builds(TransportError, st.just("connection lost"), request_sent=st.booleans()),
    st.builds(RateLimitError, st.just("too many"), status_code=st.just(429), retry_after=retry_after),
    st.builds(ServerError, st.just("broken"), status_code=st.just(503), retry_after=retry_after),
    st.builds(InvalidResponseError, st.just("not JSON")),
)
final: st.SearchStrategy[ClanforgeError] = st.sampled_from(
    [
        NotFoundError("no such job", status_code=404),
        PermissionDeniedError("forbidden", status_code=403),
        APIError("an error envelope", status_code=200),
    ],
)
intervals: st.SearchStrategy[Any] = st.sampled_from([until_eta(), until_eta(0.5, 8), 0.25, 5.0, 90.0])


@frozen
class Turn:
    """One poll: what it brings, how late it is made, and when the server says that it answers."""

    brings: Job | ClanforgeError
    late_by: float
    server_time: datetime


def turns(brings: st.SearchStrategy[Any]) -> st.SearchStrategy[Turn]:
    return st.builds(Turn, brings, st.floats(0, 30), moments)


sequences = st.lists(turns(st.one_of(jobs, jobs, passing, final)), min_size=1, max_size=30)
rule_sets = st.builds(
    WatchPolicy,
    retrying=intervals.map(strategy),
    outage_tolerance=st.sampled_from([0.0, 10.0, 300.0]),
    stale_after=st.sampled_from([0.0, 10.0, 120.0]),
)


def watched(
    sequence: Sequence[Turn], rules: WatchPolicy, ref: JobRef = REF
) -> tuple[list[float], PollAgain | Finished]:
    """Watch until the end or until the sequence is at its own; return when each poll was made, and the outcome."""
    state, at, times = WatchState(ref=ref, began=50.0), 50.0, list[float]()
    for turn in sequence:
        at += turn.late_by
        times.append(at)
        outcome = decide(state, PollResult(seen=turn.brings, at=at, server_time=turn.server_time), rules)
        if isinstance(outcome, Finished):
            break
        state, at = outcome.state, at + outcome.after
    return times, outcome


def since_when(sequence: Sequence[Turn], times: Sequence[float], kind: type[ClanforgeError]) -> float:
    """Return when the series began, unbroken up to the last poll, of failures or else of stale answers."""
    began = times[-1]
    for turn, at in reversed(list(zip(sequence, times, strict=False))):
        if isinstance(turn.brings, Job):
            stale = turn.brings.updated_at < NOW
            if kind is StaleJobError and stale:
                began = at
            else:
                break
        elif kind is not StaleJobError:
            began = at
    return began


@unhurried
@given(sequences, rule_sets)
def test_a_watch_ends_when_it_should_and_for_the_reason_that_it_says(sequence: list[Turn], rules: WatchPolicy) -> None:
    """Every watch ends at the first news that is terminal, at a refusal, or when patience is over, and at no other."""
    times, outcome = watched(sequence, rules)
    made = sequence[: len(times)]
    for turn in made[:-1]:
        assert not isinstance(turn.brings, APIError) or isinstance(turn.brings, RateLimitError | ServerError)
        assert not (isinstance(turn.brings, Job) and turn.brings.is_terminal and turn.brings.updated_at >= NOW)
    last = made[-1].brings
    if isinstance(outcome, PollAgain):
        assert len(made) == len(sequence)
        return
    if outcome.job is not None:
        assert outcome.job is last
        assert outcome.job.is_terminal
        assert outcome.job.updated_at >= NOW
        assert isinstance(outcome.error, JobFailedError) is (outcome.job.state is not JobState.COMPLETED)
    elif isinstance(outcome.error, StaleJobError):
        assert isinstance(last, Job)
        assert last.updated_at < NOW
        assert times[-1] - since_when(made, times, StaleJobError) >= rules.stale_after - 1e-6
    else:
        assert outcome.error is last
        if isinstance(last, TransportError | RateLimitError | ServerError | InvalidResponseError):
            assert times[-1] - since_when(made, times, ClanforgeError) >= rules.outage_tolerance - 1e-6


@unhurried
@given(sequences, rule_sets)
def test_patience_is_never_exceeded(sequence: list[Turn], rules: WatchPolicy) -> None:
    """No watch goes on after its tolerance for failures, or for stale answers, is over."""
    times, outcome = watched(sequence, rules)
    last = sequence[len(times) - 1].brings
    if isinstance(outcome, Finished):
        return
    if isinstance(last, ClanforgeError):
        began = since_when(sequence[: len(times)], times, ClanforgeError)
        assert times[-1] - began < rules.outage_tolerance + 1e-6
    elif last.updated_at < NOW:
        began = since_when(sequence[: len(times)], times, StaleJobError)
        assert times[-1] - began < rules.stale_after + 1e-6


@unhurried
@given(sequences, rule_sets)
def test_pauses_are_sound(sequence: list[Turn], rules: WatchPolicy) -> None:
    """A pause is a number, never negative, and never shorter than what the server has asked for."""
    state, at = WatchState(ref=REF, began=50.0), 50.0
    for turn in sequence:
        outcome = decide(state, PollResult(seen=turn.brings, at=at, server_time=turn.server_time), rules)
        if isinstance(outcome, Finished):
            return
        asked_for = (turn.brings.retry_after or 0.0) if isinstance(turn.brings, APIError) else 0.0
        assert outcome.at_least == asked_for
        assert 0.0 <= asked_for <= outcome.after < math.inf
        assert outcome.state.idle_for == state.idle_for + outcome.after
        state, at = outcome.state, at + outcome.after


@unhurried
@given(st.floats(), jobs)
def test_whatever_a_strategy_says_no_pause_is_negative_or_no_number(said: float, job: Job) -> None:
    """A strategy can answer any float: the pause is at least 0 and a number, or the step says that it is at fault."""
    try:
        outcome = decide(
            WatchState(ref=JobRef.image_version(9012), began=0.0),
            PollResult(seen=job, at=1.0, server_time=NOW),
            WatchPolicy(retrying=strategy(lambda _: said)),
        )
    except ValueError:
        assert not math.isfinite(said)
    else:
        assert isinstance(outcome, Finished) or outcome.after == max(said, 0.0)


@unhurried
@given(st.lists(turns(jobs), min_size=1, max_size=20), rule_sets)
def test_no_state_that_nobody_knows_and_no_count_of_failures_is_an_end(
    sequence: list[Turn], rules: WatchPolicy
) -> None:
    """As long as all that comes is a job that runs, or whose state nobody knows, the watch goes on."""
    unfinished = [turn for turn in sequence if isinstance(turn.brings, Job) and not turn.brings.is_terminal]
    if unfinished:
        times, outcome = watched(unfinished, rules, JobRef.image_version(9012))
        assert isinstance(outcome, PollAgain)
        assert outcome.state.polls == len(times) == len(unfinished)


@unhurried
@given(sequences, rule_sets)
def test_only_news_is_told(sequence: list[Turn], rules: WatchPolicy) -> None:
    """What is told is always a job of the run that is watched, and just the one that was seen."""
    state, at = WatchState(ref=REF, began=50.0), 50.0
    for turn in sequence:
        outcome = decide(state, PollResult(seen=turn.brings, at=at, server_time=turn.server_time), rules)
        fresh = isinstance(turn.brings, Job) and turn.brings.updated_at >= NOW
        told = outcome.job if isinstance(outcome, Finished) else outcome.update
        assert told is (turn.brings if fresh else None)
        if isinstance(outcome, Finished):
            return
        state, at = outcome.state, at + outcome.after


@unhurried
@given(sequences, rule_sets)
def test_a_watch_survives_being_written_down(sequence: list[Turn], rules: WatchPolicy) -> None:
    """Written as JSON and read after every step, a watch ends as one that never left its process."""
    here = there = WatchState(ref=REF, began=50.0)
    at = 50.0
    for turn in sequence:
        observation = PollResult(seen=turn.brings, at=at, server_time=turn.server_time)
        stayed, moved = decide(here, observation, rules), decide(there, observation, rules)
        assert stayed.state == moved.state
        if isinstance(stayed, Finished):
            assert isinstance(moved, Finished)
            assert moved.job == stayed.job
            assert repr(moved.error) == repr(stayed.error)
            return
        assert isinstance(moved, PollAgain)
        assert (moved.after, moved.at_least, moved.update) == (stayed.after, stayed.at_least, stayed.update)
        here, at = stayed.state, at + stayed.after
        there = WatchState.from_dict(json.loads(json.dumps(moved.state.to_dict(), allow_nan=False)))


@unhurried
@given(sequences, rule_sets)
def test_the_same_goes_in_and_the_same_comes_out(sequence: list[Turn], rules: WatchPolicy) -> None:
    """A step depends on its arguments alone and changes none of them."""
    state, at = WatchState(ref=REF, began=50.0), 50.0
    for turn in sequence:
        before = state.to_dict()
        observation = PollResult(seen=turn.brings, at=at, server_time=turn.server_time)
        first, second = decide(state, observation, rules), decide(state, observation, rules)
        assert state.to_dict() == before
        assert repr(first) == repr(second)
        if isinstance(first, Finished):
            return
        state, at = first.state, at + first.after
