"""Forecasts of a job's end: accuracy, certainty, and the state kept between polls."""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from clanforge_async import ImageDiffJob, ImageVersionJob, JobState
from clanforge_async._polling.distributions import Forecast
from clanforge_async._polling.forecast import ForecastState, Sample, forecast, update_forecast

NOW = datetime(2025, 11, 22, tzinfo=UTC)
START = NOW.timestamp()

without_deadline = settings(deadline=None, max_examples=50)  # a busy machine must not fail the tests


def at(
    seconds: float,
    *,
    eta: float | None = None,
    progress: float = 0,
    is_running: bool = True,
    updated: float | None = None,
) -> Sample:
    """Return the sample of a job that started at 0; like the server, it cuts off fractions."""
    return Sample(
        now=START + math.floor(seconds),
        since=START,
        is_running=is_running,
        progress=math.floor(progress),
        eta=None if eta is None else START + math.floor(eta),
        updated=START + math.floor(seconds if updated is None else updated),
    )


def state_after(samples: Iterable[Sample]) -> ForecastState:
    state = ForecastState()
    for sample in samples:
        state = update_forecast(state, sample)
    return state


def forecast_of(*samples: Sample) -> Forecast:
    expected = forecast(state_after(samples))
    assert expected is not None
    return expected


def is_accurate(sample_at: Callable[[float], Sample], duration: float) -> bool:
    """Return whether the end is forecast to within a few percent from the middle of the job on."""
    moments = [duration * part / 10 for part in range(1, 10)]
    states = itertools.accumulate((sample_at(moment) for moment in moments), update_forecast, initial=ForecastState())
    for moment, state in list(zip(moments, itertools.islice(states, 1, None), strict=True))[5:]:
        expected = forecast(state)
        if expected is None or abs(moment + expected.seconds - duration) > 0.06 * duration + 3:
            return False
    return True


instants = st.one_of(
    st.integers(-50, 50).map(lambda seconds: START + seconds),
    st.floats(datetime(2, 1, 1, tzinfo=UTC).timestamp(), datetime(9998, 1, 1, tzinfo=UTC).timestamp()).map(
        lambda instant: round(instant, 6),
    ),
)
any_sample = st.builds(
    Sample,
    now=instants,
    since=instants,
    is_running=st.booleans(),
    progress=st.integers(0, 100) | st.just(100),
    eta=st.none() | instants,
    updated=instants,
)
histories = st.lists(any_sample, min_size=1, max_size=12)
CLOCK_SET_BACK = [at(1000, progress=100), at(940, progress=100)]


@without_deadline
@given(histories)
@example(CLOCK_SET_BACK)
def test_every_forecast_is_valid(samples: list[Sample]) -> None:
    """However absurd the clocks, ETAs and progress, nothing raises, and forecasts are finite and not negative."""
    state = ForecastState()
    assert forecast(state) is None
    for sample in samples:
        state = update_forecast(state, sample)
        expected = forecast(state)
        if expected is not None:
            assert 0 <= expected.seconds < math.inf
            assert 0 < expected.scale < math.inf
        for estimate in filter(None, (state.eta, state.progress)):
            assert all(
                map(math.isfinite, (estimate.end, estimate.stddev, estimate.drift, *estimate.remaining(sample.now)))
            )
        assert sample.age >= 1


@without_deadline
@given(histories)
def test_a_state_survives_json(samples: list[Sample]) -> None:
    """A state that is written to JSON and read back is equal, and has the same forecast."""
    for state in itertools.accumulate(samples, update_forecast, initial=ForecastState()):
        read = ForecastState.from_dict(json.loads(json.dumps(state.to_dict(), allow_nan=False)))
        assert read == state
        assert forecast(read) == forecast(state)


def size_of(value: object) -> int:
    """Return the bytes of a value and of everything to which only that value refers."""
    slots = getattr(type(value), "__attrs_attrs__", ())
    shared = value is None or isinstance(value, bool)
    return 0 if shared else sys.getsizeof(value) + sum(size_of(getattr(value, slot.name)) for slot in slots)


def test_a_state_is_small() -> None:
    """However long the watch, a state takes no more than 2 KiB, on any Python."""
    state = ForecastState()
    for k in range(200):
        state = update_forecast(state, at(10.5 * k, eta=2000 + k, progress=k / 2.1, updated=10.5 * k - 2))
        assert size_of(state) <= 2048
    assert state.eta is not None
    assert state.progress is not None


@without_deadline
@given(histories, any_sample)
def test_an_update_changes_no_earlier_state(samples: list[Sample], another: Sample) -> None:
    """A state is a value: an update returns another one."""
    state = state_after(samples)
    before = state.to_dict()
    assert update_forecast(state, another) == update_forecast(state, another)
    forecast(state)
    assert state.to_dict() == before


def test_a_state_without_samples_has_no_forecast() -> None:
    """Before the first poll there is no forecast."""
    assert forecast(ForecastState()) is None


def test_a_job_without_eta_and_progress_has_no_forecast() -> None:
    """Without ETA and progress there is no forecast, however often the job is polled."""
    assert forecast(state_after([at(0), at(100), at(200)])) is None


@pytest.mark.parametrize("duration", [120, 3600, 86_400])
def test_a_constant_eta_is_the_forecast(duration: float) -> None:
    """An ETA that never changes is the forecast."""
    assert is_accurate(lambda seconds: at(seconds, eta=duration), duration)


def test_an_unchanged_eta_gets_no_more_certain() -> None:
    """An ETA from an hour before the end is as uncertain ten minutes before it; a new one is more certain."""
    unchanged = [at(600 * k, eta=3600) for k in range(6)]
    assert forecast_of(*unchanged).scale == forecast_of(unchanged[0]).scale > 100
    assert 0.5 < forecast_of(*unchanged[:5], at(3000, eta=3590)).scale < forecast_of(*unchanged).scale / 3


def test_an_eta_counts_from_when_it_was_made() -> None:
    """The bias of an ETA that is always off by a fifth, and rarely updated, is measured if the server says when."""
    samples = [at(k, eta=made + 0.8 * (1000 - made), updated=made) for k in range(0, 600, 40) for made in [k - k % 150]]
    assert forecast_of(*samples).seconds == pytest.approx(1000 - 560, abs=30)


def test_an_eta_far_ahead_is_less_certain() -> None:
    """The uncertainty of an ETA grows with the time that remains."""
    revised = [(at(0, eta=end), at(10, eta=end + 1)) for end in (400, 4000, 40_000)]
    near, far, farthest = (forecast_of(*samples).scale for samples in revised)
    assert 0.5 < 4 * near < far < farthest / 8


def test_a_changed_eta_dates_from_between_two_polls() -> None:
    """An ETA that the server has changed since the last poll was made halfway, and is known to within its change."""
    unchanged = [at(100 * k, eta=1000) for k in range(3)]
    state = state_after([*unchanged, at(300, eta=1100)])
    assert state.eta is not None
    assert state.eta.latest.at == START + 250
    assert state.eta.latest.stddev == pytest.approx(100 / math.sqrt(12), rel=0.05)
    assert 800 < forecast_of(*unchanged, at(300, eta=1100)).seconds < 250 + 850 / (1 - 100 / 250) - 300


def test_an_eta_that_passes_a_whole_second_between_two_polls_is_that_second() -> None:
    """An ETA that moves by less than a second from poll to poll is exact when the second changes."""
    samples = [at(20 * k, eta=1000.5 - 0.01 * 20 * k) for k in range(41)]
    assert forecast_of(*samples).seconds == pytest.approx(1000 / 1.01 - 800, abs=0.2)


def test_two_values_in_a_row_measure_no_error() -> None:
    """One second more after ten is not extrapolated over an hour: both ETAs count as about right."""
    assert forecast_of(at(0, eta=3600), at(10, eta=3601)).seconds == pytest.approx(3591, rel=0.1)


def test_an_eta_in_the_past_means_now() -> None:
    """If the server changes its ETA to a time before its own clock, it expects the end at any moment."""
    assert forecast_of(at(0, eta=100), at(110, eta=105)).seconds == 0


def test_an_old_error_does_not_count() -> None:
    """An ETA that was too late at first, and has been right for as long as remains, is right."""
    erring = [at(k, eta=1400 - 0.4 * k) for k in range(0, 500, 50)]
    right = [at(k, eta=1200 + k // 50 % 2) for k in range(500, 1101, 50)]
    assert forecast_of(*erring, *right).seconds == pytest.approx(100, abs=3)


@pytest.mark.parametrize("duration", [120, 3600, 86_400])
def test_linear_progress_leads_to_the_end(duration: float) -> None:
    """Progress in step with time leads to the end."""
    assert is_accurate(lambda seconds: at(seconds, progress=100 * seconds / duration), duration)


@without_deadline
@given(st.integers(240, 100_000), st.floats(-0.4, 0.5))
def test_a_constant_error_of_the_eta_is_removed(duration: int, off: float) -> None:
    """An ETA that is always off by the same fraction of the remaining time is corrected after some polls."""
    assert is_accurate(lambda seconds: at(seconds, eta=seconds + (duration - seconds) * (1 + off)), duration)


@without_deadline
@given(st.integers(240, 100_000), st.floats(0.7, 1.6))
def test_nonlinear_progress_leads_to_the_end(duration: int, power: float) -> None:
    """Progress that follows a power of time leads to the end, unless it looks coarse at first."""
    first, second = (math.floor(100 * part**power) for part in (0.1, 0.2))
    assume(math.gcd(first, second) < 5)
    assert is_accurate(lambda seconds: at(seconds, progress=100 * (seconds / duration) ** power), duration)


@pytest.mark.parametrize(("duration", "power"), [(255, 0.97265625), (240, 0.973), (99_999, 0.97)])
def test_fine_progress_that_looks_coarse_at_first_is_less_certain(duration: int, power: float) -> None:
    """First samples of 10 and 20 look like steps of ten; the forecast is off for longer, and its scale admits it."""
    moments = [duration * part / 10 for part in range(1, 10)]
    samples = [at(moment, progress=100 * (moment / duration) ** power) for moment in moments]
    assert [sample.progress for sample in samples[:2]] == [10, 20]
    for polls in range(6, 10):
        expected = forecast_of(*samples[:polls])
        assert abs(moments[polls - 1] + expected.seconds - duration) < 6 * expected.scale


@without_deadline
@given(st.integers(240, 100_000), st.floats(-0.3, 0.5), st.floats(0.8, 1.4))
def test_a_biased_eta_and_nonlinear_progress_combine(duration: int, off: float, power: float) -> None:
    """A biased ETA and a nonlinear progress don't spoil each other."""
    assert is_accurate(
        lambda seconds: at(
            seconds,
            eta=seconds + (duration - seconds) * (1 + off),
            progress=100 * (seconds / duration) ** power,
        ),
        duration,
    )


def test_a_stable_eta_counts_more_than_an_unstable_progress() -> None:
    """If both disagree, the one that has changed little counts: here the ETA."""
    samples = [at(100 * k, eta=1000 - k, progress=progress) for k, progress in enumerate([0, 60, 25, 70, 45, 90])]
    assert forecast_of(*samples).seconds > 400  # the ETA leads to 500, the progress to about 50


def test_a_stable_progress_counts_more_than_an_unstable_eta() -> None:
    """If both disagree, the one that has changed little counts: here the progress."""
    etas = [3000, 300, 5000, 900, 4000, 600]
    samples = [at(100 * k, eta=eta, progress=9.6 * k) for k, eta in enumerate(etas)]
    assert 400 < forecast_of(*samples).seconds < 600  # the progress leads to 540, the ETA to 100


@pytest.mark.parametrize("end", [900, 1000, 1300])
def test_two_estimates_are_combined_by_weight(end: float) -> None:
    """Each estimate weighs by its variance, and the square of their disagreement adds to the variance."""
    etas, progresses = [end + k for k in range(6)], [10 * k for k in range(6)]
    eta = forecast_of(*(at(100 * k, eta=etas[k]) for k in range(6)))
    progress = forecast_of(*(at(100 * k, progress=progresses[k]) for k in range(6)))
    both = forecast_of(*(at(100 * k, eta=etas[k], progress=progresses[k]) for k in range(6)))
    narrow = 1 / (eta.scale**-2 + progress.scale**-2)
    weight = narrow / eta.scale**2
    assert both.seconds == pytest.approx(weight * eta.seconds + (1 - weight) * progress.seconds)
    apart = math.pi**-2 * 3 * weight * (1 - weight) * (eta.seconds - progress.seconds) ** 2
    assert both.scale == pytest.approx(math.sqrt(narrow + apart))


def test_different_estimates_make_a_less_certain_forecast() -> None:
    """The larger the difference between two estimates, the less certain the forecast."""
    agreed, disagreed = (
        forecast_of(*(at(100 * k, eta=1000 + extra, progress=10 * k) for k in range(6))) for extra in (0, 1000)
    )
    assert disagreed.scale > agreed.scale


def test_an_overdue_eta_counts_again_when_it_changes() -> None:
    """A job past its ETA may end at any moment, ever less likely; a new ETA is a new forecast."""
    samples, scales = [at(0, eta=100), at(90, eta=100)], list[float]()
    for delay in (5, 20, 80, 500):
        samples.append(at(100 + delay, eta=100))
        overdue = forecast_of(*samples)
        assert overdue.seconds == 0
        scales.append(overdue.scale)
    assert scales == sorted(set(scales))
    assert forecast_of(*samples, at(700, eta=1000)).seconds == pytest.approx(300)


def test_an_eta_that_has_just_passed_still_counts() -> None:
    """A certain end a moment ago outweighs a vague one far ahead; one that is long overdue does not."""
    samples = [at(100 * k, eta=1300, progress=9.8 * k) for k in range(1, 11)]
    samples.append(at(1025, eta=1300, progress=99))
    assert forecast_of(*samples).seconds < 7
    assert forecast_of(*samples, at(1220, eta=1300, progress=99)).seconds > 30


def test_progress_counts_more_than_an_overdue_eta() -> None:
    """While the progress still leads to an end, an ETA in the past does not count."""
    samples = [at(50 * k, eta=90, progress=5.4 * k) for k in range(1, 8)]
    assert forecast_of(*samples).seconds == pytest.approx(576, rel=0.15)


def test_a_job_at_100_percent_may_end_at_any_moment() -> None:
    """At 100 % a job is about to end; the longer it shows that, the less certain."""
    samples = [at(100 * k, progress=20 * k) for k in range(1, 6)]
    just, long = forecast_of(*samples), forecast_of(*samples, *(at(500 + 60 * k, progress=100) for k in range(1, 12)))
    assert just.seconds == long.seconds == 0
    assert long.scale > 10 * just.scale


def test_an_eta_counts_again_after_long_at_100_percent() -> None:
    """The longer a job shows 100 %, the more an ETA in the future counts."""
    assert forecast_of(at(50, eta=100, progress=50), at(60, eta=100, progress=100)).seconds < 2
    later = [at(50, eta=100, progress=50), at(60, eta=100, progress=100), at(90, eta=100, progress=100)]
    assert forecast_of(*later).seconds == pytest.approx(10, abs=1)


def test_falling_progress_starts_over() -> None:
    """If a job's progress falls from 100 %, the job is no longer about to end."""
    again = forecast_of(at(100, progress=100), at(110, progress=10), at(200, progress=50))
    assert 50 < again.seconds < 300


def test_a_clock_that_is_set_back_starts_over() -> None:
    """Responses from servers with different clocks still give a usable forecast."""
    back = forecast_of(*CLOCK_SET_BACK)
    assert back.seconds == 0
    assert back.scale > 0
    assert forecast_of(at(3600, eta=100), at(10, eta=100)).seconds == 90


def test_the_later_of_two_samples_at_one_time_counts() -> None:
    """Of two samples at the same time the later counts, and the difference is no drift."""
    expected = forecast_of(at(100, eta=900), at(100, eta=1100))
    assert expected.seconds == 1000
    assert expected == forecast_of(at(100, eta=1100))
    progress = state_after([at(100, progress=41), at(100, progress=47)]).progress
    assert progress is not None
    assert progress.drift == 0


def started_at_600(seconds: float, eta: float, progress: float = 0) -> Sample:
    return evolve(at(seconds, eta=eta, progress=progress), since=START + 600)


QUEUED = [at(60 * k, eta=2000, is_running=False) for k in range(10)]


def test_a_started_job_gets_new_estimates() -> None:
    """An ETA that held exactly while the job waited may have any bias during the run."""
    assert state_after(QUEUED).progress is None
    started = [started_at_600(610 + 60 * k, 1998 - 12 * k, 4 + k) for k in range(8)]
    expected = forecast_of(*QUEUED, *started)
    assert expected.seconds == pytest.approx((1998 - 12 * 7 - 1030) / 1.2, rel=0.02)


def test_the_eta_of_the_wait_measures_the_bias_from_the_first_sample_of_the_run() -> None:
    """An ETA that has moved since the start tells its bias; one that the server has made for the start does not."""
    assert forecast_of(*QUEUED, started_at_600(1200, 1880)).seconds == pytest.approx(680 / 1.2, rel=0.05)
    assert forecast_of(*QUEUED, started_at_600(700, 1900)) == forecast_of(started_at_600(700, 1900))


@pytest.mark.parametrize("eta", [None, 650.0])
def test_a_wait_without_an_eta_for_the_run_tells_nothing_of_it(eta: float | None) -> None:
    """Neither a wait without ETA nor one whose ETA has passed at the start changes the forecast of the run."""
    waited = at(100, eta=eta, is_running=False)
    late = evolve(at(700, eta=1900), since=START + 660)
    assert forecast_of(waited, late) == forecast_of(late)


def test_a_job_back_in_the_queue_drops_its_progress() -> None:
    """The progress of a job that waits to run again is not extrapolated."""
    ran = state_after(at(10 * k, progress=10 * k) for k in range(1, 6))
    assert forecast(ran) is not None
    waits = update_forecast(ran, at(60, progress=50, is_running=False))
    assert waits.progress is None
    assert forecast(waits) is None


def test_a_restart_between_two_polls_starts_over() -> None:
    """A later start is another run: the progress of the last one does not count."""
    ran = state_after([at(50, progress=50), at(100, progress=100)])
    again = Sample(START + 150, START + 120, is_running=True, progress=11, eta=None, updated=START + 150)
    assert update_forecast(ran, again).complete_since is None
    assert forecast_of(at(50, progress=50), at(100, progress=100), again).seconds == pytest.approx(230, rel=0.1)


def test_the_progress_of_a_waiting_job_does_not_count() -> None:
    """The progress makes a forecast only while the job runs."""
    assert forecast(state_after(at(10 * k, progress=10 * k, is_running=False) for k in range(1, 6))) is None


@pytest.mark.parametrize("state", [JobState.CREATED, JobState.PENDING, JobState.QUEUED])
def test_a_retried_diff_that_waits_is_not_running(state: JobState) -> None:
    """A diff that waits to run again may still show its last run's start, which is not this run's."""
    updated = NOW - timedelta(seconds=20)
    job = ImageDiffJob(
        id=5678,
        state=state,
        created_at=NOW - timedelta(days=2),
        updated_at=updated,
        started_at=NOW - timedelta(days=1),
        progress=40,
    )
    sample = Sample.of(job, NOW)
    assert not sample.is_running
    assert sample.since == updated.timestamp() + 0.5
    assert sample.age == 20


@pytest.mark.parametrize("state", [JobState.RUNNING, None])
def test_a_started_job_is_running(state: JobState | None) -> None:
    """A job with a start time is running since then, even in an unknown state."""
    started, eta = NOW - timedelta(seconds=90), NOW + timedelta(seconds=60)
    job = ImageVersionJob(
        id=9012,
        state=state,
        created_at=NOW - timedelta(days=2),
        updated_at=NOW,
        started_at=started,
        eta=eta,
        progress=60,
    )
    assert Sample.of(job, NOW) == Sample(
        START + 0.5, started.timestamp() + 0.5, is_running=True, progress=60, eta=START + 60.5, updated=START + 0.5
    )
    assert Sample.of(job, NOW).age == 90


def test_progress_without_a_start_does_not_count() -> None:
    """A running job without a start time has no progress to extrapolate."""
    job = ImageVersionJob(
        id=9012,
        state=JobState.RUNNING,
        created_at=NOW - timedelta(days=2),
        updated_at=NOW - timedelta(seconds=5),
        progress=60,
    )
    since = START - 4.5
    assert Sample.of(job, NOW) == Sample(START + 0.5, since, is_running=True, progress=0, eta=None, updated=since)


def test_an_age_is_at_least_a_second() -> None:
    """A start in the future, by a different clock, makes no age below one second."""
    assert at(0).age == at(-500).age == 1


def test_updates_do_not_reset_the_age_of_a_waiting_job() -> None:
    """A job is as old as its wait, even if the server updates it with every poll."""
    state = ForecastState()
    for now in range(1000, 1600, 20):
        state = update_forecast(state, Sample(now, now, is_running=False, progress=0, eta=None, updated=now))
    assert state.last is not None
    assert state.last.age == 580


def test_updates_do_not_change_the_eta_of_a_waiting_job() -> None:
    """An update of a waiting job does not change the forecast from its ETA."""
    samples = [Sample(now, now, is_running=False, progress=0, eta=1600, updated=now) for now in range(1000, 1200, 20)]
    assert forecast_of(*samples).seconds == 1600 - 1180


def test_a_waiting_job_at_100_percent_is_not_about_to_end() -> None:
    """A retried diff that waits and still shows the last run's progress has no forecast."""
    waiting = Sample(now=1000.0, since=900.0, is_running=False, progress=100, eta=None, updated=900.0)
    assert forecast(state_after([waiting, waiting])) is None


def test_an_eta_of_the_last_run_is_ignored() -> None:
    """An ETA before the start was not made for this run."""
    job = ImageVersionJob(
        id=9012,
        state=JobState.RUNNING,
        created_at=NOW - timedelta(days=2),
        updated_at=NOW,
        started_at=NOW - timedelta(seconds=90),
        eta=NOW - timedelta(days=1),
        progress=0,
    )
    assert Sample.of(job, NOW).eta is None


@pytest.mark.parametrize("lead", [2, 30])
def test_a_receding_eta_is_ignored(lead: float) -> None:
    """An ETA that stays a few seconds ahead of every poll is ignored until it stops moving."""
    samples = [at(20 * k, eta=20 * k + lead) for k in range(2, 10)]
    assert forecast(state_after(samples)) is None
    assert forecast_of(*(at(20 * k, eta=20 * k + lead, progress=2 * k) for k in range(2, 10))).seconds > 600
    assert forecast_of(*samples, *(at(200 + 20 * k, eta=450 - k) for k in range(5))).seconds == pytest.approx(
        170, rel=0.2
    )


@pytest.mark.parametrize("jump", [-400, 900])
def test_an_eta_that_changes_too_fast_is_a_new_one(jump: float) -> None:
    """An ETA that jumps counts as it is now, and less beside a steady progress."""
    steady = [at(50 * k, eta=1000 - k) for k in range(6)]
    jumped = at(300, eta=995 + jump)
    assert forecast_of(*steady, jumped).seconds == pytest.approx(695 + jump, abs=1)
    assert forecast_of(*steady, jumped).scale > 2 * forecast_of(jumped).scale


@without_deadline
@given(st.integers(400, 50_000), st.sampled_from([5, 10, 20, 25]), st.floats(0.8, 1.3))
def test_coarse_progress_leads_to_the_end(duration: int, step: int, power: float) -> None:
    """Progress that moves only every few polls is dated by when it moves."""

    def percentage(seconds: float) -> int:
        return step * math.floor(100 / step * math.pow(seconds / duration, power))

    polls = [duration * part / 60 for part in range(58)]
    expected = forecast_of(*(at(seconds, progress=percentage(seconds)) for seconds in polls))
    assert abs(polls[-1] + expected.seconds - duration) < 3 * expected.scale + 0.05 * duration


@pytest.mark.parametrize("power", [0.5, 0.7])
def test_progress_is_more_certain_than_its_last_percent(power: float) -> None:
    """Half a percent of the work leaves that much of the end open; many observations leave less."""
    samples = [at(k, progress=100 * (k / 1000) ** power) for k in range(10, 601, 10)]
    half_a_percent = 0.005 / math.sqrt(3)
    by_work = 1000 / power * half_a_percent / 0.6**power
    expected = forecast_of(*samples)
    assert 0.2 < expected.scale / (math.sqrt(3) / math.pi * by_work) < 0.7
    assert abs(expected.seconds - 400) < 4 * expected.scale


def test_a_coarse_step_dates_from_between_two_polls() -> None:
    """Progress at 50 and then at 75 reached 75 in between, which is more certain than being anywhere up to 100."""
    expected = forecast_of(at(900, progress=50), at(1000, progress=75))
    assert expected.seconds == pytest.approx(950 / 0.75 - 1000, abs=5)
    assert expected.scale < 55


@pytest.mark.parametrize(("progress", "middle"), [(44, 44.5), (45, 47.5), (40, 50)])
def test_only_large_steps_count_as_coarse(progress: int, middle: float) -> None:
    """Progress at 45 may move in fives and be anywhere up to 50; at 44 it does not move in fours."""
    assert forecast_of(at(450, progress=progress)).seconds == pytest.approx(45_000 / middle - 450)


def test_coarse_progress_is_less_certain() -> None:
    """Progress that has only been 90 may be anywhere up to 100; after an 89 it may not."""
    assert forecast_of(at(900, progress=90)).scale > 1.4 * forecast_of(at(890, progress=89), at(900, progress=90)).scale


def test_the_server_dates_a_coarse_step() -> None:
    """If the server says when a coarse progress moved, the end is as certain as with single percents."""
    told, untold = (
        forecast_of(*(at(k, progress=k // 250 * 25, updated=k // 250 * 250 if tells else k) for k in range(1, 900, 90)))
        for tells in (True, False)
    )
    assert told.seconds == pytest.approx(1000 - 811, abs=12)
    assert told.scale < untold.scale / 2


def test_progress_is_not_late_before_its_next_step() -> None:
    """Until the next step is due, at the current pace, its absence changes nothing."""
    samples = [at(seconds, progress=math.floor(4 * (seconds / 1000) ** 2) * 25) for seconds in range(20, 860, 20)]
    ends = {
        round(START + seconds + forecast_of(*samples[: seconds // 20]).seconds, 3) for seconds in range(720, 860, 20)
    }
    assert len(ends) == 1


def test_progress_that_stops_moves_the_end_away() -> None:
    """The longer progress does not move, the later and the less certain is the end."""
    samples = [at(50 * k, progress=5.3 * k) for k in range(1, 9)]
    moving = forecast_of(*samples)
    stalled = forecast_of(*samples, *(at(400 + 50 * k, progress=42) for k in range(1, 7)))
    assert moving.seconds == pytest.approx(400 / 0.424 - 400, rel=0.1)
    assert 800 < stalled.seconds < 5000
    assert stalled.scale > 3 * moving.scale
