"""Pauses between polls: `until_eta`, tenacity's own strategies, and invalid ones."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.scripted_server import START, Answer, ScriptedServer, answer, server_now, wire
from support.virtual_time import now, run_in_virtual_time, virtual_time
from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_after_attempt
from tenacity.wait import (
    wait_base,
    wait_chain,
    wait_combine,
    wait_exponential,
    wait_fixed,
    wait_incrementing,
    wait_none,
    wait_random,
)

from clanforge_async import (
    ClanforgeClient,
    ConfigurationError,
    ImageVersionJob,
    JobRef,
    JobState,
    JobWatcher,
    ServerError,
    WatchTimeoutError,
    until_eta,
)
from clanforge_async._polling.distributions import Forecast
from clanforge_async._polling.strategy import Interval, _pause_to_end
from clanforge_async._watching.decisions import PollAgain, PollResult, decide
from clanforge_async._watching.state import WatchPolicy, WatchState
from clanforge_async.testing import VirtualTimeLoop

NOW = datetime(2025, 11, 22, tzinfo=UTC)
REF = JobRef.image_version(9012)
RUNNING, COMPLETED = wire(9012), wire(9012, JobState.COMPLETED)


async def poll_times(interval: Interval, polls: int, **options: Any) -> list[float]:
    """Return when a job is polled that completes with its n-th poll."""
    server = ScriptedServer()
    server.version(9012, *[RUNNING] * (polls - 1), COMPLETED)
    await JobWatcher(server.client(**options), interval=interval).wait(REF)
    return server.polls(9012)


def pauses_of(times: list[float]) -> list[float]:
    return [round(after - before, 6) for before, after in itertools.pairwise(times)]


def pause_after(wait: wait_base, *seen: tuple[ImageVersionJob, float]) -> float:
    """Return the pause after the last of some jobs, each polled so many seconds after `NOW`."""
    state, rules, pause = WatchState(ref=REF, began=0.0), WatchPolicy(interval=wait), math.nan
    for job, at in seen:
        outcome = decide(state, PollResult(seen=job, at=at, server_time=NOW + timedelta(seconds=at)), rules)
        assert isinstance(outcome, PollAgain)
        state, pause = outcome.state, outcome.after
    return pause


def running(
    *,
    created: float = 0.0,
    started: float | None = None,
    eta: float | None = None,
    progress: int = 0,
    state: JobState | None = JobState.RUNNING,
) -> ImageVersionJob:
    def moment(seconds: float) -> datetime:
        return NOW + timedelta(seconds=seconds)

    return ImageVersionJob(
        id=9012,
        state=state,
        created_at=moment(created),
        updated_at=NOW,
        started_at=None if started is None else moment(started),
        eta=None if eta is None else moment(eta),
        progress=progress,
    )


@pytest.mark.parametrize(
    ("interval", "pauses"),
    [
        pytest.param(3, [3, 3, 3, 3], id="int"),
        pytest.param(0.5, [0.5] * 4, id="float"),
        pytest.param(wait_fixed(2), [2, 2, 2, 2], id="fixed"),
        pytest.param(wait_fixed(timedelta(minutes=1)), [60] * 4, id="timedelta"),
        pytest.param(wait_exponential(multiplier=1, max=6), [1, 2, 4, 6], id="exponential"),
        pytest.param(wait_incrementing(start=1, increment=2, max=6), [1, 3, 5, 6], id="incrementing"),
        pytest.param(wait_chain(wait_fixed(1), wait_fixed(5), wait_fixed(9)), [1, 5, 9, 9], id="chain"),
        pytest.param(wait_fixed(2) + wait_fixed(0.5), [2.5] * 4, id="sum"),
        pytest.param(wait_combine(wait_fixed(1), wait_incrementing(0, 1)), [1, 2, 3, 4], id="combined"),
        pytest.param(wait_none() + wait_fixed(4), [4] * 4, id="none-and-fixed"),
        pytest.param(lambda state: state.attempt_number * 10, [10, 20, 30, 40], id="callable"),
    ],
)
@virtual_time
async def test_a_watch_polls_by_any_strategy(interval: Interval, pauses: list[float]) -> None:
    """A number is a fixed interval; a strategy, a sum of strategies, or a function returns the pauses."""
    assert pauses_of(await poll_times(interval, 5)) == pauses


@virtual_time
async def test_a_random_strategy_stays_in_its_bounds() -> None:
    """Jitter is added by tenacity's own strategies."""
    jittered = pauses_of(await poll_times(wait_fixed(10) + wait_random(0, 1), 30))
    assert all(10 <= pause <= 11 for pause in jittered)
    assert len(set(jittered)) > 20


def test_until_eta_shows_its_settings() -> None:
    """The repr of a strategy shows its arguments."""
    assert repr(until_eta(2, 30, poll_worth=0.5)) == "until_eta(2, 30, poll_worth=0.5)"


@virtual_time
async def test_until_eta_adds_up_with_other_strategies() -> None:
    """``until_eta() + wait_random(0, 1)`` is a strategy too, and both parts see the forecast."""
    known = running(eta=500)
    for seen in ([(known, 0.0)], [(known, 0.0), (known, 490.0)]):
        alone = pause_after(until_eta(1, 300), *seen)
        assert pause_after(until_eta(1, 300) + wait_fixed(2), *seen) == pytest.approx(alone + 2)
    server = ScriptedServer()
    server.on(
        "imageversion/status",
        9012,
        lambda: COMPLETED if now() > 500 else wire(9012, jobstart=None, jobeta=START + 500, jobprogress=0),
    )
    await JobWatcher(server.client(), interval=until_eta(5, 300) + wait_random(0, 1)).wait(REF)
    pauses = pauses_of(server.polls(9012))
    assert max(pauses) > 10
    assert 5 <= min(pauses) < max(pauses) / 2
    assert len({pause % 1 for pause in pauses}) > 5


@pytest.mark.parametrize("pause", [0.0, -5.0])
@virtual_time
async def test_a_strategy_without_pauses_polls_as_fast_as_the_server_responds(pause: float) -> None:
    """After a zero or negative pause the next poll is sent at once, one at a time."""
    server = ScriptedServer()

    async def slow_answer() -> Answer:
        await asyncio.sleep(2)
        return COMPLETED if now() > 9 else RUNNING

    server.on("imageversion/status", 9012, slow_answer)
    await JobWatcher(server.client(), interval=lambda _: pause).wait(REF)
    assert server.polls(9012) == [0, 2, 4, 6, 8]
    assert server.most_in_flight == 1


class NeverStuckLoop(VirtualTimeLoop):
    """A virtual loop that notices when its time no longer advances, and advances it."""

    def __init__(self) -> None:
        super().__init__()
        self.is_stuck = False
        self._last = (0.0, 0)

    def time(self) -> float:
        at, (last, calls) = super().time(), self._last
        self._last = (at, calls + 1 if at == last else 0)
        if calls > 2_000:
            self.is_stuck = True
            self.clock.advance(0.001)
        return at


@pytest.mark.parametrize("rate", [3.0, 7.3, 20.0])
def test_a_strategy_without_pauses_keeps_to_the_rate_limit(rate: float) -> None:
    """The client's ``max_rate`` limits every strategy, by the loop's clock."""
    loop, times = NeverStuckLoop(), list[float]()

    async def watch() -> None:
        times.extend(await poll_times(wait_none(), 100, max_rate=rate))

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(watch())
    assert times[-1] == pytest.approx((100 - math.floor(rate)) / rate, abs=1 / rate + 0.01)
    assert all(later - earlier >= 1 - 1e-6 for earlier, later in zip(times, times[int(2 * rate) :], strict=False))
    assert not loop.is_stuck


def failing_strategy(_: RetryCallState) -> float:
    msg = "strategy failed"
    raise LookupError(msg)


@virtual_time
async def test_a_strategy_that_raises_ends_the_watch() -> None:
    """Every watch of the job gets the strategy's exception, and polling stops."""
    server = ScriptedServer()
    server.version(9012, RUNNING)
    watcher = JobWatcher(server.client(), interval=failing_strategy)
    first, second = await watcher.wait_all([REF, REF])
    assert isinstance(first.error, LookupError)
    assert isinstance(second.error, LookupError)
    with pytest.raises(LookupError, match="strategy failed"):
        await watcher.wait(REF)
    await asyncio.sleep(1000)
    assert server.polls(9012) == [0, 0]


@virtual_time
async def test_a_strategy_that_raises_does_not_hide_the_end_of_a_job() -> None:
    """The strategy is not called for a finished job."""
    server = ScriptedServer()
    server.version(9012, COMPLETED)
    assert (await JobWatcher(server.client(), interval=failing_strategy).wait(REF)).is_completed


@pytest.mark.parametrize("returned", [None, "soon"])
@virtual_time
async def test_a_strategy_that_returns_no_number_ends_the_watch(returned: Any) -> None:
    """If a strategy does not return a number, the watch ends with the error."""
    server = ScriptedServer()
    server.version(9012, RUNNING)
    with pytest.raises((TypeError, ValueError)):
        await JobWatcher(server.client(), interval=lambda _: returned).wait(REF)


@virtual_time
async def test_a_strategy_that_returns_nan_ends_the_watch() -> None:
    """If a strategy returns NaN, the watch fails at once instead of waiting forever."""
    server = ScriptedServer()
    server.version(9012, RUNNING)
    with pytest.raises(ValueError, match=r"(?i)nan|number"):
        await JobWatcher(server.client(), interval=lambda _: math.nan).wait(REF, timeout=1000)
    assert now() == 0


@virtual_time
async def test_a_strategy_with_an_infinite_pause_gets_the_last_poll() -> None:
    """An infinite pause is no error: the poll just before the deadline remains."""
    server = ScriptedServer()
    server.on("imageversion/status", 9012, lambda: COMPLETED if now() >= 90 else RUNNING)
    watcher = JobWatcher(server.client(), interval=lambda _: math.inf)
    with pytest.raises(WatchTimeoutError):
        await watcher.wait(REF, timeout=60)
    assert now() == 60
    assert (await watcher.wait(REF, timeout=60)).is_completed
    assert now() < 120
    assert len(server.polls(9012)) == 4


@virtual_time
async def test_a_strategy_gets_what_tenacity_documents() -> None:
    """A strategy gets the attempt's number and outcome, the elapsed time and the time spent waiting."""
    received: list[tuple[int, str, float | None, float]] = []

    def recording(state: RetryCallState) -> float:
        assert state.outcome is not None
        outcome = type(state.outcome.exception() or state.outcome.result()).__name__
        received.append((state.attempt_number, outcome, state.seconds_since_start, state.idle_for))
        return 10.0

    server = ScriptedServer()
    answers: list[Answer] = [RUNNING, httpx.Response(502), RUNNING, COMPLETED]

    async def slow_answer() -> Answer:
        await asyncio.sleep(3)
        return answers.pop(0)

    server.on("imageversion/status", 9012, slow_answer)
    await JobWatcher(server.client(), interval=recording).wait(REF)
    assert received == [
        (1, "ImageVersionJob", 3.0, 0.0),
        (2, "ServerError", 16.0, 10.0),
        (3, "ImageVersionJob", 20.0, 11.0),
    ]


@virtual_time
async def test_watches_do_not_share_attempts() -> None:
    """A strategy counts the attempts of each watch separately."""
    server = ScriptedServer()
    for job_id in (1, 2, 3):
        server.version(job_id, *[wire(job_id)] * 3, wire(job_id, JobState.COMPLETED))
    watcher = JobWatcher(server.client(), interval=wait_exponential(multiplier=1))
    await watcher.wait_all([JobRef.image_version(job_id) for job_id in (1, 2, 3)])
    for job_id in (1, 2, 3):
        assert server.polls(job_id) == [0, 1, 3, 7]


@pytest.mark.parametrize(
    "interval",
    [0, -1, math.nan, math.inf, -math.inf, True, None, "5", timedelta(seconds=5), until_eta, wait_fixed],
)
@virtual_time
async def test_an_invalid_interval_raises(interval: Any) -> None:
    """An interval is a positive, finite number or a strategy, but not a strategy's class."""
    with pytest.raises(ConfigurationError, match=r"^interval must be a positive number of seconds or"):
        JobWatcher(ScriptedServer().client(), interval=interval)


@pytest.mark.parametrize(
    ("lowest", "highest"),
    [(0, 10), (-1, 10), (10, 5), (math.nan, 10), (1, math.nan), (1, math.inf), (math.inf, math.inf)],
)
def test_invalid_bounds_raise(lowest: float, highest: float) -> None:
    """`until_eta` needs positive, finite, ordered bounds."""
    with pytest.raises(ConfigurationError, match=r"^until_eta needs 0 < min <= max"):
        until_eta(lowest, highest)


without_deadline = settings(deadline=None, max_examples=60)  # a busy machine must not fail the tests
bounds = st.tuples(st.floats(0.001, 1e6), st.floats(0.001, 1e6)).map(sorted)
any_seconds = st.integers(-(10**9), 10**9)
jobs = st.builds(
    running,
    created=any_seconds,
    started=st.none() | any_seconds,
    eta=st.none() | any_seconds,
    progress=st.integers(0, 100),
    state=st.sampled_from([JobState.CREATED, JobState.PENDING, JobState.QUEUED, JobState.RUNNING, None]),
)


@without_deadline
@given(bounds, st.lists(st.tuples(jobs, st.integers(0, 10**6)), min_size=1, max_size=12))
def test_until_eta_stays_within_its_bounds(min_and_max: list[float], seen: list[tuple[ImageVersionJob, int]]) -> None:
    """Whatever the server reports, the pause is between ``min`` and ``max``, or ``max_waiting`` before the job runs."""
    lowest, highest = min_and_max
    waits = seen[-1][0].state in {JobState.CREATED, JobState.PENDING, JobState.QUEUED}
    wait = until_eta(lowest, highest, max_waiting=2 * highest)
    assert lowest <= pause_after(wait, *seen) <= (2 * highest if waits else highest)


@without_deadline
@given(bounds, st.integers(1, 10**6))
def test_until_eta_without_samples_stays_within_its_bounds(min_and_max: list[float], attempt: int) -> None:
    """Without a job, whatever the attempt's number, the pause is between ``min`` and ``max``."""
    lowest, highest = min_and_max
    state = RetryCallState(AsyncRetrying(), None, (), {})
    state.attempt_number = attempt
    assert lowest <= until_eta(lowest, highest)(state) <= highest


@pytest.mark.parametrize("name", ["poll_worth", "max_waiting"])
@pytest.mark.parametrize("seconds", [0, -0.35, math.nan, math.inf])
def test_an_invalid_option_raises(name: str, seconds: float) -> None:
    """``poll_worth`` and ``max_waiting`` are positive, finite numbers of seconds."""
    with pytest.raises(ConfigurationError, match=rf"^until_eta needs a positive {name}"):
        until_eta(**{name: seconds})


def expected_cost(ahead: Forecast, pause: float, worth: float) -> float:
    """Return the cost of a poll after a pause and then further ones: delay, and seconds for each poll."""
    step, cost, survived = 0.02 * ahead.scale, 0.0, 1.0
    at, due = 0.0, pause
    while survived > 1e-6:
        hazard = 1 / ahead.scale / (1 + math.exp(min((ahead.seconds - at) / ahead.scale, 500)))
        ended = survived * -math.expm1(-hazard * step)
        cost += ended * (due - at - step / 2)
        survived -= ended
        at += step
        if at >= due:
            cost += worth * survived
            hazard = max(hazard, 1e-3 / ahead.scale)
            due = at + max(math.sqrt(2 * worth / hazard), step)
    return cost


@pytest.mark.parametrize(("seconds", "scale"), [(100, 1), (20, 2), (300, 10), (50, 0.5), (1000, 40)])
def test_the_first_poll_near_the_end_costs_least(seconds: float, scale: float) -> None:
    """A poll that is earlier or later costs more, or hardly less."""
    ahead = Forecast(seconds, scale)
    best = _pause_to_end(ahead, 0.15, 0.01)
    for away in (-2, -1, 1, 2):
        assert expected_cost(ahead, best, 0.15) < 1.1 * expected_cost(ahead, best + away * scale, 0.15)


@pytest.mark.parametrize("scale", [0.02, 0.05, 0.1, 0.2])
def test_a_poll_is_late_rather_than_repeated_after_the_minimum_pause(scale: float) -> None:
    """If the next poll can follow only after a second, the first one comes when the end has most likely passed."""
    wait = _pause_to_end(Forecast(60, scale), 0.15, 1.0)
    assert 60 + scale < wait < 60.5
    missed = 1 / (1 + math.exp((wait - 60) / scale))
    assert missed * (1 - missed) * 1.15 == pytest.approx(scale)  # as much delay as is saved by fewer misses


def test_pauses_before_a_certain_end_are_about_equal_and_end_at_it() -> None:
    """The last of the polls that would detect a failure detects the end."""
    times = [0.0]
    while times[-1] < 1000:
        seen = [(running(started=0, eta=int(1000 + 0.1 * (1000 - at))), at) for at in times]
        times.append(times[-1] + pause_after(until_eta(), *seen))
    pauses = pauses_of(times)
    assert 16 <= len(pauses) <= 21
    assert max(pauses[:15]) < 1.2 * min(pauses[:15])
    assert times[-1] < 1001


@without_deadline
@given(st.integers(1, 100_000), st.floats(0.01, 10))
def test_the_pause_without_a_forecast_follows_from_the_hazard(age: int, worth: float) -> None:
    """The hazard without a forecast falls with the job's age."""
    wait = until_eta(0.001, 1e9, poll_worth=worth)
    hazard = 2 / (age + 480)
    interval = math.sqrt(2 * worth / hazard)
    assert pause_after(wait, (running(started=0), age)) == pytest.approx(max(interval, 0.005 * age), rel=0.5 / age)


@without_deadline
@given(st.integers(1, 100_000), st.floats(0.01, 10), st.booleans())
def test_the_pause_of_a_waiting_job_costs_least(seconds: int, worth: float, has_eta: bool) -> None:
    """A job that waits has to start and then to end, so its expected delay grows with the cube of the pause."""
    wait = until_eta(0.001, 1e9, max_waiting=1e9, poll_worth=worth)
    eta = seconds if has_eta else None
    pause = pause_after(wait, (running(state=JobState.QUEUED, eta=eta), 0 if has_eta else seconds))
    latest = seconds + math.hypot(0.12 * seconds, 0.3)  # of the ETA
    rates = 0.1 / latest**2 if has_eta else 1 / seconds / 2000

    def cost(pause: float) -> float:
        return (worth + rates * pause**3 / 6) / pause

    assert cost(pause) <= min(cost(0.9 * pause), cost(1.1 * pause))


@pytest.mark.parametrize("has_eta", [True, False])
def test_a_long_wait_takes_few_polls(has_eta: bool) -> None:
    """A job that waits for half an hour and then runs for two minutes takes 20 polls with an ETA, and 30 without."""
    start, end, at = 1800.0, 1920.0, 0.0
    seen = list[tuple[ImageVersionJob, float]]()
    while at < end:
        is_running, progress = at >= start, int(max(at - start, 0) / 1.2)
        state, eta = JobState.RUNNING if is_running else JobState.QUEUED, end if has_eta else None
        seen.append((running(started=start if is_running else None, eta=eta, progress=progress, state=state), at))
        at += pause_after(until_eta(), *seen)
    assert len(seen) < (20 if has_eta else 30)
    assert at - end < 15


def test_max_waiting_bounds_the_pauses_before_the_run() -> None:
    """While a job waits, its pauses may be longer than ``max``, but not than ``max_waiting``."""
    waiting = running(state=JobState.QUEUED, eta=100_000)
    assert pause_after(until_eta(), (waiting, 0.0)) == 300
    assert pause_after(until_eta(max_waiting=90), (waiting, 0.0)) == 90
    assert pause_after(until_eta(100, 200, max_waiting=90), (waiting, 0.0)) == 100
    assert repr(until_eta(max_waiting=90)) == "until_eta(1, 60, max_waiting=90, poll_worth=0.15)"


@pytest.mark.parametrize("ahead", [300, 30, 1])
def test_a_poll_follows_within_a_second_after_the_forecast_end(ahead: int) -> None:
    """However expensive a poll is, one is made a second after the forecast end."""
    assert pause_after(until_eta(0.1, 3600, poll_worth=1e5), (running(started=0, eta=600), 600.0 - ahead)) == ahead + 1


def test_an_overdue_job_is_polled_by_how_long() -> None:
    """However cheap a poll is, the pause of an overdue job is at least half a percent of its delay."""
    wait, late = until_eta(0.001, 1e6, poll_worth=1e-6), running(started=0, eta=500)
    pauses = [pause_after(wait, (late, 490.0), (late, 500.0 + overdue)) for overdue in (10_000, 100_000)]
    assert pauses == pytest.approx([50, 500], rel=0.15)


def test_until_eta_polls_more_often_before_the_end() -> None:
    """Pauses are long far from the ETA, though not beyond it, and short near it."""
    wait, seen, pauses = until_eta(1, 3600), list[tuple[ImageVersionJob, float]](), list[float]()
    for remaining in (3600, 600, 60, 20, 5, 2):
        seen.append((running(created=0, started=0, eta=3600 + remaining // 50), 3600.0 - remaining))
        pauses.append(pause_after(wait, *seen))
        assert 1 <= pauses[-1] < max(remaining + 1, 3)
    assert min(pauses[:2]) > 60
    assert pauses[1:] == sorted(pauses[1:], reverse=True)
    assert pauses[-1] <= 3


@pytest.mark.parametrize("progress", [0, 50, 100])
def test_until_eta_polls_less_often_after_the_eta(progress: int) -> None:
    """The longer the ETA has passed, the longer the pauses, up to ``max``."""
    late = running(started=0, eta=500, progress=progress)
    wait = until_eta(1, 60)
    pauses = [pause_after(wait, (late, 490.0), (late, at)) for at in (505.0, 520.0, 600.0, 1000.0, 3000.0, 90_000.0)]
    assert pauses == sorted(pauses)
    assert pauses[0] < 6
    assert pauses[2] > 2 * pauses[0]
    assert pauses[-1] == 60


def test_until_eta_follows_the_progress() -> None:
    """Without an ETA the progress leads to the end: the nearer it is, the more polls."""
    far, near, nearest = (
        pause_after(until_eta(1, 3600), (running(started=0, progress=progress), 1000.0)) for progress in (10, 60, 98)
    )
    assert far > near > nearest
    assert far > 40


@virtual_time
async def test_progress_is_enough_to_detect_an_end_soon() -> None:
    """A job with progress but no ETA takes few polls, and its end is detected within seconds."""
    server = ScriptedServer()
    server.on("imageversion/status", 9012, script_of_a_job(600, eta=None))
    await JobWatcher(server.client(), interval=until_eta(1, 3600)).wait(REF)
    assert len(server.polls(9012)) < 40
    assert now() - 600 <= 5


def test_progress_before_the_start_does_not_count() -> None:
    """The progress of a job that waits in the queue again does not change the pauses."""
    queued = running(started=-100, progress=50, state=JobState.QUEUED)
    plain = running(started=-100, progress=0, state=JobState.QUEUED)
    wait = until_eta(1, 3600)
    assert pause_after(wait, (queued, 100.0)) == pause_after(wait, (plain, 100.0))


@pytest.mark.parametrize("state", [JobState.RUNNING, None])
def test_until_eta_falls_back_on_the_age(state: JobState | None) -> None:
    """Without a forecast the pauses grow with the job's age, up to ``max``."""
    wait, job = until_eta(1, 60), running(started=0, state=state)
    pauses = [pause_after(wait, (job, at)) for at in (0.0, 5.0, 100.0, 1000.0, 10_000.0)]
    assert pauses == sorted(set(pauses))
    assert pauses[0] < 10
    assert pauses[-1] > 35
    assert pause_after(wait, (job, 100_000.0)) == 60


def test_a_waiting_job_is_polled_less_often_than_a_running_one() -> None:
    """Without a forecast, the longer a job has waited, the longer are the pauses."""
    waiting, runs = running(state=JobState.QUEUED), running(started=0)
    seen = [(waiting, at) for at in (0.0, 30.0, 600.0, 3600.0)]
    pauses = [pause_after(until_eta(1, 3600), *seen[: n + 1]) for n in range(4)]
    assert pauses == sorted(set(pauses))
    assert pauses[0] > pause_after(until_eta(1, 3600), (runs, 0.0))
    assert pauses[-1] < 150


@virtual_time
async def test_a_poll_follows_right_after_the_forecast_end() -> None:
    """An ETA that never changed is uncertain, but if it is right the end is detected within two seconds."""
    server = ScriptedServer()
    server.on("imageversion/status", 9012, script_of_a_job(900, progress=False))
    await JobWatcher(server.client()).wait(REF)
    assert now() - 900 <= 2
    assert len(server.polls(9012)) < 60


@virtual_time
async def test_a_receding_eta_does_not_cause_many_polls() -> None:
    """An ETA that is always five seconds ahead counts as none."""

    def show() -> dict[str, Any]:
        return {"jobprogress": 0, "jobeta": int(server_now()) + 5}

    assert await polls_of_a_slow_job(1200, show) < 1200 / 8


def test_without_samples_the_pauses_grow() -> None:
    """Without a job, as during stale responses, the pauses grow up to ``max``."""
    wait = until_eta(2, 20)
    state = RetryCallState(AsyncRetrying(), None, (), {})
    pauses = []
    for attempt in range(1, 7):
        state.attempt_number = attempt
        pauses.append(wait(state))
    assert pauses == [2, 4, 8, 16, 20, 20]


def test_until_eta_waits_one_second_to_one_minute_by_default() -> None:
    """By default the pauses of `until_eta` are between one and sixty seconds."""
    state = RetryCallState(AsyncRetrying(), None, (), {})
    assert until_eta()(state) == 1
    assert pause_after(until_eta(), (running(started=0, eta=100_000), 0.0)) == 60


def test_until_eta_waits_longest_after_an_error() -> None:
    """After a failed poll `until_eta` returns ``max``; the watch decides how soon to try again."""
    state = RetryCallState(AsyncRetrying(), None, (), {})
    error = ServerError("broken", status_code=500)
    state.set_exception((ServerError, error, None))
    assert until_eta(1, 45)(state) == 45


def script_of_a_job(
    duration: float,
    *,
    skew: float = 0.0,
    progress: bool = True,
    eta: Callable[[float], float] | None = lambda duration: duration,
) -> Callable[[], Answer]:
    """Return the script of a job that starts at once, on a server whose clock is wrong by ``skew`` seconds."""

    def script() -> Answer:
        age, zero = now(), START + int(skew)
        fields: dict[str, Any] = {"jobcreated": zero, "jobstart": str(zero), "jobupdated": int(zero + age)}
        fields["jobeta"] = None if eta is None else int(zero + eta(duration))
        fields["jobprogress"] = min(int(100 * age / duration), 99) if progress else 0
        date = format_datetime(datetime.fromtimestamp(int(server_now() + skew), UTC), usegmt=True)
        body = wire(9012, JobState.COMPLETED if age >= duration else JobState.RUNNING, **fields)
        return httpx.Response(200, json=body, headers={"Date": date})

    return script


@pytest.mark.parametrize("skew", [-3600, 3600, 86_400 * 365])
def test_a_wrong_local_clock_changes_nothing(skew: int) -> None:
    """ETAs are compared with the server's own clock, so a wrong local clock does not change the times of polls."""

    async def watch(server: ScriptedServer, wrong_by: int) -> None:
        server.on("imageversion/status", 9012, script_of_a_job(1000, skew=wrong_by))
        await JobWatcher(server.client()).wait(REF)

    right, wrong = ScriptedServer(), ScriptedServer()
    run_in_virtual_time(watch(right, 0))
    run_in_virtual_time(watch(wrong, skew))
    assert wrong.polls(9012) == right.polls(9012)


@virtual_time
async def test_an_end_at_its_eta_is_detected_soon_with_few_polls() -> None:
    """A job of an hour that keeps its ETA takes few polls, and its end is detected within seconds."""
    server = ScriptedServer()
    server.on("imageversion/status", 9012, script_of_a_job(3600))
    await JobWatcher(server.client(), interval=until_eta(1, 3600)).wait(REF)
    assert len(server.polls(9012)) < 60
    assert now() - 3600 <= 3


@virtual_time
async def test_a_wrong_eta_costs_little() -> None:
    """An ETA that is a tenth too early costs some delay and some polls, but not many."""
    server = ScriptedServer()
    server.on("imageversion/status", 9012, script_of_a_job(1000, progress=False, eta=lambda duration: 0.9 * duration))
    await JobWatcher(server.client(), interval=until_eta(1, 3600)).wait(REF)
    assert len(server.polls(9012)) < 65
    assert now() - 1000 <= 20


@virtual_time
async def test_a_smaller_poll_worth_polls_more_often() -> None:
    """The smaller ``poll_worth`` is, the more polls are sent, and the shorter are the pauses."""
    polls, late = list[int](), list[float]()
    for worth in (0.02, 0.35, 6.0):
        server = ScriptedServer()
        server.version(9012, *[wire(9012, jobprogress=0)] * 5)
        with pytest.raises(WatchTimeoutError):
            await JobWatcher(server.client(), interval=until_eta(0.1, 3600, poll_worth=worth)).wait(REF, timeout=777)
        polls.append(len(server.polls(9012)))
        late.append(max(pauses_of(server.polls(9012))))
    assert polls[0] > 2 * polls[1] > 4 * polls[2]
    assert late == sorted(late)


@virtual_time
async def test_a_job_without_a_forecast_is_polled_by_its_age() -> None:
    """Without a forecast the detection delay is at most a tenth of the job's age."""
    server = ScriptedServer()
    server.on("imageversion/status", 9012, script_of_a_job(400, progress=False, eta=None))
    await JobWatcher(server.client()).wait(REF)
    assert now() - 400 <= 40
    assert len(server.polls(9012)) < 60


@virtual_time
async def test_a_response_without_a_date_uses_the_local_clock() -> None:
    """A response without a ``Date`` counts as sent now."""
    local, pauses = int(datetime.now(UTC).timestamp()), list[float]()
    for remaining in (5, 2000):
        server = ScriptedServer()
        fields: dict[str, Any] = {"jobupdated": local, "jobstart": None, "jobeta": local + remaining}
        server.version(9012, httpx.Response(200, json=wire(9012, jobprogress=0, **fields)), answer_completed())
        await JobWatcher(server.client(), interval=until_eta(1, 3600)).wait(REF)
        pauses += pauses_of(server.polls(9012))
    assert pauses[0] <= 6
    assert 30 < pauses[1] <= 2000


def answer_completed() -> httpx.Response:
    return httpx.Response(200, json=COMPLETED)


async def polls_of_a_slow_job(seconds: float, show: Callable[[], dict[str, Any]]) -> int:
    """Return how often a job is polled that shows the same fields until it ends after so many seconds."""
    server = ScriptedServer()
    server.on("imageversion/status", 9012, lambda: answer(COMPLETED if now() > seconds else wire(9012, **show())))
    await JobWatcher(server.client()).wait(REF)
    return len(server.polls(9012))


@virtual_time
async def test_long_at_100_percent_does_not_cause_many_polls() -> None:
    """A running job may show 100 % for long: the pauses grow."""
    assert await polls_of_a_slow_job(600, lambda: {"jobprogress": 100, "jobupdated": int(server_now())}) < 100


@virtual_time
async def test_an_overdue_eta_does_not_cause_many_polls() -> None:
    """A job may run hours past its ETA: the pauses grow up to ``max``."""
    assert await polls_of_a_slow_job(7200, lambda: {"jobprogress": 0, "jobeta": START + 60}) < 350


@virtual_time
async def test_an_eta_one_second_ahead_does_not_cause_many_polls() -> None:
    """An ETA that is always one second ahead counts less and less."""

    def show() -> dict[str, Any]:
        return {"jobprogress": 0, "jobeta": int(server_now()) + 1}

    assert await polls_of_a_slow_job(600, show) < 200


@virtual_time
async def test_until_eta_works_in_a_tenacity_loop() -> None:
    """tenacity itself can repeat a status call with `until_eta` as its wait strategy."""
    server = ScriptedServer()
    server.version(9012, *[RUNNING] * 5, COMPLETED)
    retrying = AsyncRetrying(
        wait=until_eta(1, 6),
        retry=retry_if_result(lambda job: not job.is_terminal),
        stop=stop_after_attempt(10),
        sleep=asyncio.sleep,
    )
    job: ImageVersionJob = await retrying(server.client().image_versions.status, 9012)
    assert job.is_completed
    assert server.polls(9012) == [0, 1, 3, 7, 13, 19]


def test_the_default_is_until_eta() -> None:
    """A watcher polls with `until_eta(1, 60)` by default."""

    async def watch(server: ScriptedServer, make: Callable[[ClanforgeClient], JobWatcher]) -> None:
        server.on("imageversion/status", 9012, script_of_a_job(3625, progress=False, eta=lambda _: 3600))
        with pytest.raises(WatchTimeoutError):
            await make(server.client()).wait(REF, timeout=3620)

    default, explicit = ScriptedServer(), ScriptedServer()
    run_in_virtual_time(watch(default, JobWatcher))
    run_in_virtual_time(watch(explicit, lambda client: JobWatcher(client, interval=until_eta(1, 60))))
    pauses = pauses_of(default.polls(9012))
    assert pauses == pauses_of(explicit.polls(9012))
    assert 1 <= min(pauses[:-1]) < 15
    assert max(pauses) == 60
