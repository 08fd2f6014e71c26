"""`decide`: the decisions of a watch, result by result."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve
from tenacity import RetryCallState

from clanforge_async import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ClanforgeError,
    ConfigurationError,
    ImageDiffDetails,
    ImageDiffJob,
    ImageLockedError,
    ImageVersionJob,
    InvalidResponseError,
    Job,
    JobFailedError,
    JobKind,
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
    job_from_dict,
)
from clanforge_async._polling.forecast import ForecastState
from clanforge_async._polling.strategy import Interval
from clanforge_async._watching.decisions import Finished, PollAgain, PollResult, decide
from clanforge_async._watching.server_clock import ServerClock
from clanforge_async._watching.state import WatchPolicy, WatchState
from clanforge_async.jobs import job_failure

NOW = datetime(2025, 11, 22, tzinfo=UTC)
BEGAN = 100.0
RETRIED = JobRef.image_diff(5678, newer_than=NOW)

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
    pytest.param(ImageLockedError("locked", diff_id=4, status_code=200), id="locked"),
    pytest.param(ConfigurationError("the client is closed"), id="closed-client"),
]


def version(state: JobState | None = JobState.RUNNING, **fields: Any) -> ImageVersionJob:
    usual: dict[str, Any] = {"id": 9012, "state": state, "created_at": NOW, "updated_at": NOW}
    return ImageVersionJob(**(usual | fields))


def diff(state: JobState | None = JobState.RUNNING, updated: float = 0.0, **fields: Any) -> ImageDiffJob:
    updated_at = NOW + timedelta(seconds=updated)
    return ImageDiffJob(id=5678, state=state, created_at=NOW, updated_at=updated_at, **fields)


def initial_state(ref: JobRef | None = None, **known: Any) -> WatchState:
    return WatchState(ref=ref or JobRef.image_version(9012), began=BEGAN, **known)


def seen(result: Job | ClanforgeError, at: float = BEGAN) -> PollResult:
    return PollResult(seen=result, at=at, server_time=NOW)


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


STATES = [
    pytest.param(initial_state(), id="begun"),
    pytest.param(
        initial_state(RETRIED, last_job=diff(JobState.FAILED, updated=-1, error="no space left"), stale_since=104.5),
        id="stale",
    ),
    pytest.param(
        initial_state(
            last_job=version(),
            last_news=version(progress=3),
            last_error=RateLimitError("later", status_code=429, retry_after=30.0),
            failing_since=0.25,
            polls_without_news=3,
            polls=7,
            idle_for=12.5,
            server_clock=ServerClock(1.5, 2.5, 3.5, 4.5),
        ),
        id="failing",
    ),
    pytest.param(
        initial_state(
            JobRef.image_diff(5678),
            last_job=job_from_dict(
                JobKind.IMAGE_DIFF,
                {
                    "diffid": 5678,
                    "jobcreated": 1,
                    "jobupdated": 2,
                    "jobstateid": 99,
                    "jobstatename": "Musing",
                    "jobprogress": 3,
                    "jobfailed": 1,
                },
            ),
        ),
        id="unknown-state",
    ),
]


@pytest.mark.parametrize("state", STATES)
def test_a_state_survives_json(state: WatchState) -> None:
    """A state written as JSON is read back equal."""
    assert WatchState.from_dict(json.loads(json.dumps(state.to_dict(), allow_nan=False))) == state


def watched_state() -> WatchState:
    """Return the state of a watch with everything in it that an ordinary one has."""
    job = version(started_at=NOW - timedelta(seconds=30), eta=NOW + timedelta(seconds=90), progress=25)
    state = decide(initial_state(), seen(job), WatchPolicy()).state
    return decide(state, seen(evolve(job, progress=50), BEGAN + 30), WatchPolicy()).state


WATCHED = watched_state()


def test_a_state_with_a_forecast_survives_json() -> None:
    """The forecast's state is written and read with the rest."""
    job = version(started_at=NOW - timedelta(seconds=30), eta=NOW + timedelta(seconds=90), progress=25)
    outcome = decide(initial_state(), seen(job), WatchPolicy())
    assert outcome.state.forecast_state.eta is not None
    assert outcome.state.forecast_state.progress is not None
    assert WatchState.from_dict(json.loads(json.dumps(outcome.state.to_dict()))) == outcome.state


@pytest.mark.parametrize("fault", [{"ref": "image-diff"}, {"ref": 5678}, {"ref": None}])
def test_a_state_without_a_reference_raises(fault: dict[str, Any]) -> None:
    """Data whose reference is missing or unreadable raises one of the documented errors."""
    with pytest.raises((TypeError, ValueError)):
        WatchState.from_dict(initial_state().to_dict() | fault)
    with pytest.raises(KeyError, match="ref"):
        WatchState.from_dict({})


@pytest.mark.parametrize("name", [name for name in initial_state().to_dict() if name != "ref"])
@pytest.mark.parametrize("value", [..., None, "red", {}, {"colour": "red"}, [1]])
def test_a_state_of_another_release_is_read(name: str, value: Any) -> None:
    """Missing and unreadable entries of a state take their defaults, and the others are kept."""
    plain: dict[str, Any] = WATCHED.to_dict() | {"colour": "red"} | {name: value}
    state = WatchState.from_dict({key: entry for key, entry in plain.items() if entry is not ...})
    if name == "last_error" and value not in (..., None):
        assert isinstance(state.last_error, ClanforgeError)
    elif name == "last_job":
        assert state == evolve(WATCHED, last_job=None, last_news=None)
    else:
        assert state == evolve(WATCHED, **{name: getattr(WatchState(ref=WATCHED.ref, began=0.0), name)})


def test_unknown_entries_of_a_forecast_are_ignored() -> None:
    """A forecast with unknown entries at any depth is read; one that is unreadable is an empty one."""
    plain = WATCHED.to_dict()
    memory = plain["forecast_state"]
    memory["colour"] = memory["last"]["colour"] = memory["eta"]["baseline"]["colour"] = "red"
    assert WatchState.from_dict(plain) == WATCHED
    del memory["last"]["progress"]
    assert WatchState.from_dict(plain).forecast_state == ForecastState()


def test_a_state_stays_small() -> None:
    """A usual state is smaller than 1 KiB as JSON, and grows neither with a listing nor beyond 2 KiB of each text."""
    assert len(json.dumps(WATCHED.to_dict())) < 1024
    listing = {f"maps/{number}.pak": {"size": 12} for number in range(500)}
    big = diff(added=listing, modified=listing, details=ImageDiffDetails(game=listing), error="x" * 100_000)
    for state in (WatchState.start(big, 0.0), initial_state(big.ref, last_job=big, last_news=big)):
        plain = state.to_dict()
        assert len(json.dumps(plain)) < 4096
        assert plain["last_job"]["joberror"] == "x" * 2048
        assert WatchState.from_dict(plain).last_job == diff(error="x" * 2048)


def test_a_watch_can_move_between_processes() -> None:
    """A watch whose state is written and read between all polls makes the same decisions."""
    broken = RateLimitError("later", status_code=429, retry_after=30.0)
    eta = NOW + timedelta(seconds=300)
    sequence: list[Job | ClanforgeError] = [
        diff(JobState.COMPLETED, updated=-1),
        broken,
        diff(JobState.QUEUED, updated=2),
        diff(updated=3, started_at=NOW, eta=eta, progress=40),
        broken,
        diff(None, updated=4, state_id=8, state_name="Musing"),
        diff(JobState.FAILED, updated=5, failure_count=1, error="no space left"),
    ]
    here = there = initial_state(RETRIED)
    for number, answer in enumerate(sequence):
        result = seen(answer, BEGAN + 10 * number)
        in_one = decide(here, result, WatchPolicy())
        resumed = WatchState.from_dict(json.loads(json.dumps(there.to_dict())))
        in_many = decide(resumed, result, WatchPolicy())
        assert type(in_one) is type(in_many)
        here, there = in_one.state, in_many.state
        assert here == there
        if isinstance(in_one, PollAgain) and isinstance(in_many, PollAgain):
            assert in_one == in_many
    assert isinstance(in_one, Finished)
    assert isinstance(in_many, Finished)
    assert in_one.news == in_many.news == sequence[-1]
    assert str(in_one.result.error) == str(in_many.result.error) == "image-diff/5678 failed: no space left"


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
