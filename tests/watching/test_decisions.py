"""`decide`: the decisions of a watch, result by result."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from support.watch_states import BEGAN, NOW, RETRIED, diff, initial_state, seen, version
from tenacity import RetryCallState

from clanforge_async import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ClanforgeError,
    ConfigurationError,
    ImageLockedError,
    InvalidResponseError,
    Job,
    JobFailedError,
    JobRef,
    JobSquashedError,
    JobState,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    StaleJobError,
    TransportError,
)
from clanforge_async._polling.forecast import ForecastState
from clanforge_async._polling.strategy import Interval
from clanforge_async._watching.decisions import Finished, PollAgain, PollResult, decide
from clanforge_async._watching.state import WatchPolicy
from clanforge_async.jobs import job_failure

TRANSIENT = [
    pytest.param(TransportError("connection lost", request_sent=True), id="transport"),
    pytest.param(RequestTimeoutError("no response in time", request_sent=True), id="timeout"),
    pytest.param(RateLimitError("too many", status_code=429), id="429"),
    pytest.param(ServerError("broken", status_code=500), id="500"),
    pytest.param(ServerError("bad gateway", status_code=502), id="502"),
    pytest.param(ServerError("unavailable", status_code=503), id="503"),
    pytest.param(ServerError("gateway timeout", status_code=504), id="504"),
    pytest.param(InvalidResponseError("not JSON"), id="unreadable"),
]
PERMANENT = [
    pytest.param(BadRequestError("missing parameter", status_code=400), id="400"),
    pytest.param(AuthenticationError("wrong keys", status_code=401), id="401"),
    pytest.param(PermissionDeniedError("forbidden", status_code=403), id="403"),
    pytest.param(NotFoundError("no such job", status_code=404), id="404"),
    pytest.param(APIError("moved", status_code=302), id="redirect"),
    pytest.param(APIError("an error envelope", status_code=200), id="envelope"),
    pytest.param(ImageLockedError("locked", holder=JobRef.image_diff(4), status_code=200), id="locked"),
    pytest.param(ConfigurationError("the client is closed"), id="closed-client"),
]


def every(interval: Interval, **options: float) -> WatchPolicy:
    return WatchPolicy(interval=interval, **options)


def run_watch(
    results: Iterable[Job | ClanforgeError],
    policy: WatchPolicy,
    ref: JobRef | None = None,
) -> tuple[list[float], Finished]:
    """Pass each result to `decide` when the policy wants it; return the times, and the end."""
    state, at, times = initial_state(ref), BEGAN, list[float]()
    for result in results:
        times.append(at)
        outcome = decide(state, seen(result, at), policy)
        if isinstance(outcome, Finished):
            return times, outcome
        state, at = outcome.state, at + outcome.after
    pytest.fail("the watch did not end")


def repeat(result: Job | ClanforgeError) -> Iterable[Job | ClanforgeError]:
    while True:
        yield result


@pytest.mark.parametrize("state", [JobState.CREATED, JobState.PENDING, JobState.QUEUED, JobState.RUNNING, None])
def test_an_unfinished_job_is_polled_again(state: JobState | None) -> None:
    """A job that has not ended, or is in an unknown state, is an update and is polled again after the interval."""
    job = version(state)
    outcome = decide(initial_state(), seen(job), every(7))
    assert isinstance(outcome, PollAgain)
    assert (outcome.after, outcome.at_least, outcome.news) == (7.0, 0.0, job)
    assert outcome.state.last_job is job
    assert (outcome.state.polls, outcome.state.idle_for, outcome.state.polls_without_news) == (1, 7.0, 0)


def test_failures_of_a_running_job_do_not_end_the_watch() -> None:
    """``jobfailed`` counts failures; above 0 on a running job, even with a message, it ends no watch."""
    job = version(failure_count=3, error="the machine was lost", progress=100)
    assert isinstance(decide(initial_state(), seen(job), every(7)), PollAgain)


def test_a_completed_job_ends_the_watch() -> None:
    """Completed ends the watch without an error."""
    job = version(JobState.COMPLETED)
    outcome = decide(initial_state(), seen(job), every(7))
    assert isinstance(outcome, Finished)
    assert (outcome.news, outcome.result.error) == (job, None)
    assert (outcome.state.polls, outcome.state.last_job) == (1, job)


@pytest.mark.parametrize(
    ("state", "error"),
    [(JobState.FAILED, JobFailedError), (JobState.SQUASHED, JobSquashedError)],
)
def test_a_failed_or_squashed_job_ends_the_watch(state: JobState, error: type[JobFailedError]) -> None:
    """Failed and Squashed end the watch, each with its error, which holds the job."""
    job = version(state)
    outcome = decide(initial_state(), seen(job), every(7))
    assert isinstance(outcome, Finished)
    assert type(outcome.result.error) is error
    assert outcome.news is job
    assert isinstance(outcome.result.error, JobFailedError)
    assert outcome.result.error.job is job


def test_the_end_of_a_job_ends_an_outage() -> None:
    """The state of a watch that ended with its job shows no ongoing failure."""
    outcome = decide(
        initial_state(failing_since=BEGAN, polls_without_news=2), seen(version(JobState.COMPLETED), 120.0), every(60)
    )
    assert isinstance(outcome, Finished)
    assert outcome.state.failing_since is None


@pytest.mark.parametrize("error", TRANSIENT)
def test_a_transient_failure_is_retried(error: ClanforgeError) -> None:
    """A transient failure seen no update, keeps the last job, and is followed by a poll a second later."""
    job = version()
    outcome = decide(initial_state(last_job=job), seen(error, 130.0), every(7))
    assert isinstance(outcome, PollAgain)
    assert (outcome.after, outcome.at_least, outcome.news) == (1.0, 0.0, None)
    assert outcome.state.last_job is job
    assert (outcome.state.failing_since, outcome.state.polls_without_news, outcome.state.polls) == (130.0, 1, 1)


@pytest.mark.parametrize("error", PERMANENT)
def test_a_permanent_failure_ends_the_watch_at_once(error: ClanforgeError) -> None:
    """A refusal ends the watch with its error, and without a job."""
    outcome = decide(initial_state(last_job=version()), seen(error), every(7))
    assert isinstance(outcome, Finished)
    assert outcome.result.error is error
    assert outcome.news is None
    assert outcome.state.last_job == version()


@pytest.mark.parametrize("error", TRANSIENT)
def test_an_outage_ends_the_watch_after_the_tolerance(error: ClanforgeError) -> None:
    """Failed polls are repeated after 1, 2, 4, 8 and then every 15 s, the last exactly at the end of the tolerance."""
    times, end = run_watch(repeat(error), every(60, outage_tolerance=50))
    assert times == [100, 101, 103, 107, 115, 130, 145, 150]
    assert end.result.error is error
    assert end.state.polls == len(times)


def test_the_last_poll_is_at_the_end_of_the_tolerance() -> None:
    """The last poll of a series of failures or stale statuses is made exactly at the end of the tolerance."""
    policy, old = every(60, outage_tolerance=15.5, stale_after=15.5), diff(JobState.COMPLETED, updated=-1)
    for answer in (ServerError("broken", status_code=500), old):
        times, _ = run_watch(repeat(answer), policy, RETRIED)
        assert times == [100, 101, 103, 107, 115, 115.5]


def test_a_shorter_interval_applies_to_failed_polls_too() -> None:
    """An interval shorter than the pauses after failures applies to failed polls too."""
    times, _ = run_watch(repeat(ServerError("broken", status_code=500)), every(3, outage_tolerance=10))
    assert times == [100, 101, 103, 106, 109, 110]


def test_a_tolerance_of_zero_ends_at_the_first_failure() -> None:
    """``outage_tolerance=0`` gives up at the first failed poll."""
    error = ServerError("broken", status_code=500)
    outcome = decide(initial_state(), seen(error), every(7, outage_tolerance=0))
    assert isinstance(outcome, Finished)
    assert outcome.result.error is error


def test_a_good_poll_ends_the_outage() -> None:
    """A good poll resets the tolerance and the growing pauses."""
    broken = ServerError("broken", status_code=500)
    times, end = run_watch([broken] * 5 + [version()] + [broken] * 9, every(10, outage_tolerance=20))
    assert times[:6] == [100, 101, 103, 107, 115, 120]
    assert times[6:] == [130, 131, 133, 137, 145, 150]
    assert end.result.error is broken


def test_an_outage_raises_the_last_error() -> None:
    """Of several failures in a row the last one is raised."""
    last = TransportError("connection lost", request_sent=True)
    errors = [ServerError("broken", status_code=500), InvalidResponseError("not JSON"), last]
    _, end = run_watch(errors, every(60, outage_tolerance=3))
    assert end.result.error is last


@pytest.mark.parametrize("error_class", [RateLimitError, ServerError])
def test_retry_after_is_respected(error_class: type[APIError]) -> None:
    """``Retry-After`` is kept whatever the tolerance, and is returned apart from the policy's pause."""
    error = error_class("later", status_code=429, retry_after=600.0)
    outcome = decide(initial_state(), seen(error), every(5, outage_tolerance=30))
    assert isinstance(outcome, PollAgain)
    assert (outcome.after, outcome.at_least) == (600.0, 600.0)
    assert outcome.state.idle_for == 600.0
    assert isinstance(decide(outcome.state, seen(version(), 700.0), every(5)), PollAgain)
    assert isinstance(decide(outcome.state, seen(error, 700.0), every(5)), Finished)


def test_a_short_retry_after_shortens_no_pause() -> None:
    """``Retry-After`` is a minimum: a longer pause of the policy stays."""
    error = RateLimitError("later", status_code=429, retry_after=0.5)
    outcome = decide(initial_state(), seen(error), every(5))
    assert isinstance(outcome, PollAgain)
    assert (outcome.after, outcome.at_least) == (1.0, 0.5)


@pytest.mark.parametrize("state", list(JobState))
def test_a_stale_status_is_no_update(state: JobState) -> None:
    """A status from before ``newer_than`` neither ends the watch nor is an update, terminal or not."""
    old = diff(state, updated=-1)
    outcome = decide(initial_state(RETRIED), seen(old), every(60))
    assert isinstance(outcome, PollAgain)
    assert outcome.news is None
    assert (outcome.state.stale_since, outcome.state.last_job, outcome.state.forecast_state) == (
        BEGAN,
        old,
        ForecastState(),
    )
    assert (outcome.state.polls, outcome.state.polls_without_news) == (1, 1)


@pytest.mark.parametrize("updated", [0, 1])
def test_a_status_of_the_same_second_counts(updated: float) -> None:
    """A status updated at ``newer_than`` or later counts."""
    outcome = decide(initial_state(RETRIED), seen(diff(JobState.COMPLETED, updated)), every(60))
    assert isinstance(outcome, Finished)
    assert outcome.result.error is None


def test_stale_for_too_long_raises() -> None:
    """Only stale statuses within ``stale_after`` end in `StaleJobError`, on time, with the last snapshot."""
    old = diff(JobState.COMPLETED, updated=-1)
    times, end = run_watch(repeat(old), every(60, stale_after=40), RETRIED)
    assert times == [100, 101, 103, 107, 115, 130, 140]
    assert isinstance(end.result.error, StaleJobError)
    assert (end.result.error.ref, end.result.error.last_job, end.news) == (RETRIED, old, None)


def test_an_update_ends_a_stale_series() -> None:
    """After an update a new series of stale statuses counts from its own start."""
    old, new = diff(JobState.FAILED, updated=-1), diff(updated=0)
    policy = every(60, stale_after=40)
    state = initial_state(RETRIED, stale_since=BEGAN, polls_without_news=3)
    good = decide(state, seen(new, 139.0), policy)
    assert isinstance(good, PollAgain)
    assert (good.state.stale_since, good.state.polls_without_news, good.news) == (None, 0, new)
    again = decide(good.state, seen(old, 150.0), policy)
    assert isinstance(again, PollAgain)
    assert (again.state.stale_since, again.after) == (150.0, 1.0)


def test_failed_polls_do_not_end_a_stale_series() -> None:
    """Failed polls do not reset the start of a series of stale statuses."""
    old, broken = diff(JobState.FAILED, updated=-1), ServerError("broken", status_code=500)
    polled: list[Job | ClanforgeError] = [old, broken, old, broken, old, old]
    times, end = run_watch(polled, every(60, stale_after=15, outage_tolerance=2), RETRIED)
    assert times == [100, 101, 103, 107, 109, 115]
    assert isinstance(end.result.error, StaleJobError)


def test_a_stale_status_ends_an_outage() -> None:
    """A stale status ends an outage: the server has answered."""
    state = initial_state(RETRIED, failing_since=BEGAN, polls_without_news=2)
    outcome = decide(state, seen(diff(JobState.FAILED, updated=-1), 120.0), every(60))
    assert isinstance(outcome, PollAgain)
    assert (outcome.state.failing_since, outcome.state.stale_since) == (None, 120.0)


def test_the_forecast_keeps_the_last_sample() -> None:
    """The forecast's state holds the last sample seen."""
    state = initial_state()
    for progress in range(20):
        outcome = decide(state, seen(version(started_at=NOW, progress=progress)), every(1))
        assert isinstance(outcome, PollAgain)
        state = outcome.state
    assert state.forecast_state.last is not None
    assert state.forecast_state.last.progress == 19


@pytest.mark.parametrize("pause", [0.0, -3.0])
def test_a_negative_pause_becomes_zero(pause: float) -> None:
    """A pause is never negative."""
    outcome = decide(initial_state(), seen(version()), every(lambda _: pause))
    assert isinstance(outcome, PollAgain)
    assert outcome.after == 0.0


def test_a_strategy_that_returns_nan_raises() -> None:
    """A strategy that returns NaN raises `ValueError`."""
    with pytest.raises(ValueError, match=r"(?i)nan|number"):
        decide(initial_state(), seen(version()), every(lambda _: float("nan")))


def test_an_error_of_a_strategy_propagates() -> None:
    """An error of a strategy propagates out of `decide`."""

    def broken(_: RetryCallState) -> float:
        msg = "no idea"
        raise LookupError(msg)

    with pytest.raises(LookupError, match="no idea"):
        decide(initial_state(), seen(version()), every(broken))


def test_a_strategy_gets_the_state_of_tenacity() -> None:
    """A strategy gets the attempt's number and outcome, the seconds elapsed and idle, and the controller."""
    received: list[tuple[int, Any, float | None, float]] = []

    def strategy_under_test(state: RetryCallState) -> float:
        assert state.retry_object is policy.retrying
        assert (state.args, state.kwargs) == ((), {})
        assert state.outcome is not None
        outcome = state.outcome.exception() if state.outcome.failed else state.outcome.result()
        received.append((state.attempt_number, outcome, state.seconds_since_start, state.idle_for))
        return 5.0

    job, broken, policy = version(), ServerError("broken", status_code=500), every(strategy_under_test)
    run_watch([job, broken, job, version(JobState.COMPLETED)], policy)
    assert received == [(1, job, 0.0, 0.0), (2, broken, 5.0, 5.0), (3, job, 6.0, 6.0)]


def test_decide_is_pure() -> None:
    """The same state and result give the same decision, and the state stays unchanged."""
    for result in (version(), version(JobState.COMPLETED), ServerError("broken", status_code=500)):
        state = initial_state(polls=4, idle_for=9.5)
        before = state.to_dict()
        first, second = decide(state, seen(result), every(7)), decide(state, seen(result), every(7))
        assert first == second
        assert first.state is not state
        assert state.to_dict() == before


def test_a_result_without_a_server_time_has_the_local_one() -> None:
    """Without a server time, a result has the local time."""
    before = datetime.now(UTC)
    assert before <= PollResult(seen=version(), at=0.0).server_time <= datetime.now(UTC)


def test_failure_of_a_job() -> None:
    """`job_failure` returns the error of a failed or squashed job, and None for any other."""
    assert job_failure(version()) is None
    assert job_failure(version(JobState.COMPLETED)) is None
    assert type(job_failure(version(JobState.FAILED))) is JobFailedError
    assert type(job_failure(version(JobState.SQUASHED))) is JobSquashedError
