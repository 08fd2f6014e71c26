"""When a job will end, as its polls foretell: what is forecast, how surely, and what is remembered for it."""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clanforge_async import ImageDiffJob, ImageVersionJob, JobState
from clanforge_async._polling.forecast import Forecast, ForecastState, Sample, forecast, update_forecast

NOW = datetime(2025, 11, 22, tzinfo=UTC)
START = NOW.timestamp()

unhurried = settings(deadline=None, max_examples=50)  # a busy machine is no reason to fail


def at(
    seconds: float,
    *,
    eta: float | None = None,
    progress: float = 0,
    is_running: bool = True,
    updated: float | None = None,
) -> Sample:
    """Return what a poll shows of a job that started at 0; the server cuts off what is no whole number."""
    return Sample(
        now=START + math.floor(seconds),
        since=START,
        is_running=is_running,
        progress=math.floor(progress),
        eta=None if eta is None else START + math.floor(eta),
        updated=START + math.floor(seconds if updated is None else updated),
    )


def memory_of(seen: Iterable[Sample]) -> ForecastState:
    memory = ForecastState()
    for sighting in seen:
        memory = update_forecast(memory, sighting)
    return memory


def forecast_of(*seen: Sample) -> Forecast:
    ahead = forecast(memory_of(seen))
    assert ahead is not None
    return ahead


def is_right(show: Callable[[float], Sample], duration: float) -> bool:
    """Tell whether the end is forecast to within a few percent, from the middle of the job on."""
    moments = [duration * part / 10 for part in range(1, 10)]
    memories = itertools.accumulate((show(moment) for moment in moments), update_forecast, initial=ForecastState())
    for moment, memory in list(zip(moments, itertools.islice(memories, 1, None), strict=True))[5:]:
        ahead = forecast(memory)
        if ahead is None or abs(moment + ahead.seconds - duration) > 0.06 * duration + 3:
            return False
    return True


instants = st.one_of(
    st.integers(-50, 50).map(lambda seconds: START + seconds),
    st.floats(datetime(2, 1, 1, tzinfo=UTC).timestamp(), datetime(9998, 1, 1, tzinfo=UTC).timestamp()).map(
        lambda instant: round(instant, 6),
    ),
)
any_sighting = st.builds(
    Sample,
    now=instants,
    since=instants,
    is_running=st.booleans(),
    progress=st.integers(0, 100) | st.just(100),
    eta=st.none() | instants,
    updated=instants,
)
sightings = st.lists(any_sighting, min_size=1, max_size=12)
CLOCK_SET_BACK = [at(1000, progress=100), at(940, progress=100)]


@unhurried
@given(sightings)
@example(CLOCK_SET_BACK)
def test_whatever_is_seen_a_forecast_is_sound(seen: list[Sample]) -> None:
    """However absurd the clocks, estimates and progress, nothing raises, and forecasts are finite and sensible."""
    memory = ForecastState()
    assert forecast(memory) is None
    for sighting in seen:
        memory = update_forecast(memory, sighting)
        ahead = forecast(memory)
        if ahead is not None:
            assert 0 <= ahead.seconds < math.inf
            assert 0 < ahead.scale < math.inf
        for track in filter(None, (memory.eta, memory.progress)):
            assert all(map(math.isfinite, (track.end, track.stddev, track.drift, *track.remaining(sighting.now))))
        assert sighting.age >= 1


@unhurried
@given(sightings)
def test_a_memory_is_plain(seen: list[Sample]) -> None:
    """JSON holds all of a memory, and what is read back is the same and foretells the same."""
    for memory in itertools.accumulate(seen, update_forecast, initial=ForecastState()):
        read = ForecastState.from_dict(json.loads(json.dumps(memory.to_dict(), allow_nan=False)))
        assert read == memory
        assert forecast(read) == forecast(memory)


def size_of(value: object) -> int:
    """Return the bytes that a value takes with all that hangs on it and on nothing else."""
    slots = getattr(type(value), "__attrs_attrs__", ())
    shared = value is None or isinstance(value, bool)
    return 0 if shared else sys.getsizeof(value) + sum(size_of(getattr(value, slot.name)) for slot in slots)


def test_a_memory_is_small() -> None:
    """However long the watch, a memory takes no more than 2 KiB, on any Python."""
    memory = ForecastState()
    for k in range(200):
        memory = update_forecast(memory, at(10.5 * k, eta=2000 + k, progress=k / 2.1, updated=10.5 * k - 2))
        assert size_of(memory) <= 2048
    assert memory.eta is not None
    assert memory.progress is not None


@unhurried
@given(sightings, any_sighting)
def test_remembering_changes_nothing(seen: list[Sample], another: Sample) -> None:
    """A memory is a value: what is remembered on top of it makes another one."""
    memory = memory_of(seen)
    before = memory.to_dict()
    assert update_forecast(memory, another) == update_forecast(memory, another)
    forecast(memory)
    assert memory.to_dict() == before


def test_without_a_sighting_nothing_is_forecast() -> None:
    """Who has seen nothing knows nothing."""
    assert forecast(ForecastState()) is None


def test_a_job_that_foretells_nothing_has_no_forecast() -> None:
    """Neither an eta nor a progress: there is nothing to judge by, however often it is seen."""
    assert forecast(memory_of([at(0), at(100), at(200)])) is None


@pytest.mark.parametrize("duration", [120, 3600, 86_400])
def test_an_exact_eta_is_believed(duration: float) -> None:
    """An estimate that stands firm is the forecast."""
    assert is_right(lambda seconds: at(seconds, eta=duration), duration)


def test_an_estimate_that_is_not_revised_gets_no_better() -> None:
    """What was said of an end an hour ahead is as uncertain ten minutes before it; said anew, it is surer."""
    stood = [at(600 * k, eta=3600) for k in range(6)]
    assert forecast_of(*stood).scale == forecast_of(stood[0]).scale > 100
    assert 0.5 < forecast_of(*stood[:5], at(3000, eta=3590)).scale < forecast_of(*stood).scale / 3


def test_an_estimate_speaks_for_the_moment_at_which_it_was_made() -> None:
    """One that is always off by a fifth, and seldom revised, is seen through where its moments are told."""
    seen = [at(k, eta=made + 0.8 * (1000 - made), updated=made) for k in range(0, 600, 40) for made in [k - k % 150]]
    assert forecast_of(*seen).seconds == pytest.approx(1000 - 560, abs=30)


def test_an_estimate_is_the_less_sure_the_more_remains() -> None:
    """What is left open of how an estimate errs is a part of what remains."""
    revised = [(at(0, eta=end), at(10, eta=end + 1)) for end in (400, 4000, 40_000)]
    near, far, farthest = (forecast_of(*seen).scale for seen in revised)
    assert 0.5 < 4 * near < far < farthest / 8


def test_an_estimate_that_stood_for_some_polls_was_revised_between_two_of_them() -> None:
    """What has moved by 100 s since it was made, halfway between the last two polls, goes on moving as fast."""
    stood = [at(100 * k, eta=1000) for k in range(3)]
    assert forecast_of(*stood, at(300, eta=1100)).seconds == pytest.approx(250 + 850 / (1 - 100 / 250) - 300, abs=20)


def test_two_estimates_in_a_row_tell_little_of_how_they_err() -> None:
    """What one second more may mean is not drawn on over an hour: both are taken for about right."""
    assert forecast_of(at(0, eta=3600), at(10, eta=3601)).seconds == pytest.approx(3591, rel=0.1)


def test_an_estimate_of_a_moment_that_has_passed_means_now() -> None:
    """A server that revises its estimate to a moment before its own clock expects the end at any moment."""
    assert forecast_of(at(0, eta=100), at(110, eta=105)).seconds == 0


def test_how_an_estimate_erred_long_ago_does_not_count() -> None:
    """One that was too late by less and less, and has been right for as long as remains, is right."""
    erring = [at(k, eta=1400 - 0.4 * k) for k in range(0, 500, 50)]
    right = [at(k, eta=1200 + k // 50 % 2) for k in range(500, 1101, 50)]
    assert forecast_of(*erring, *right).seconds == pytest.approx(100, abs=3)


@pytest.mark.parametrize("duration", [120, 3600, 86_400])
def test_a_steady_progress_is_drawn_on(duration: float) -> None:
    """Progress in step with time leads to the end."""
    assert is_right(lambda seconds: at(seconds, progress=100 * seconds / duration), duration)


@unhurried
@given(st.integers(240, 100_000), st.floats(-0.4, 0.5))
def test_an_eta_that_is_always_off_by_a_part_of_what_remains_is_corrected(duration: int, off: float) -> None:
    """An estimate that overstates or understates all that remains by the same part is seen through after some polls."""
    assert is_right(lambda seconds: at(seconds, eta=seconds + (duration - seconds) * (1 + off)), duration)


@unhurried
@given(st.integers(240, 100_000), st.floats(0.7, 1.6))
def test_a_progress_that_slows_down_or_speeds_up_is_drawn_on(duration: int, power: float) -> None:
    """Progress that is not linear in time, as with a power of it, leads to the end after some polls all the same."""
    assert is_right(lambda seconds: at(seconds, progress=100 * (seconds / duration) ** power), duration)


@unhurried
@given(st.integers(240, 100_000), st.floats(-0.3, 0.5), st.floats(0.8, 1.4))
def test_both_together_are_weighed(duration: int, off: float, power: float) -> None:
    """An eta that is off and a progress that is not linear do not spoil each other."""
    assert is_right(
        lambda seconds: at(
            seconds,
            eta=seconds + (duration - seconds) * (1 + off),
            progress=100 * (seconds / duration) ** power,
        ),
        duration,
    )


def test_a_stable_eta_outweighs_a_progress_that_leaps() -> None:
    """Where two sources disagree, the one that has moved little counts: here the eta."""
    seen = [at(100 * k, eta=1000 - k, progress=progress) for k, progress in enumerate([0, 60, 25, 70, 45, 90])]
    assert forecast_of(*seen).seconds > 400  # the eta says 500, the progress about 50


def test_a_stable_progress_outweighs_an_eta_that_leaps() -> None:
    """Where two sources disagree, the one that has moved little counts: here the progress."""
    etas = [3000, 300, 5000, 900, 4000, 600]
    seen = [at(100 * k, eta=eta, progress=9.6 * k) for k, eta in enumerate(etas)]
    assert 400 < forecast_of(*seen).seconds < 600  # the progress says 540, the eta 100


@pytest.mark.parametrize("end", [900, 1000, 1300])
def test_two_sources_make_one_of_what_each_says_alone(end: float) -> None:
    """Each counts by how narrow it is, and the square of what they disagree by adds to that of the doubt."""
    etas, progresses = [end + k for k in range(6)], [10 * k for k in range(6)]
    eta = forecast_of(*(at(100 * k, eta=etas[k]) for k in range(6)))
    progress = forecast_of(*(at(100 * k, progress=progresses[k]) for k in range(6)))
    both = forecast_of(*(at(100 * k, eta=etas[k], progress=progresses[k]) for k in range(6)))
    narrow = 1 / (eta.scale**-2 + progress.scale**-2)
    weight = narrow / eta.scale**2
    assert both.seconds == pytest.approx(weight * eta.seconds + (1 - weight) * progress.seconds)
    apart = math.pi**-2 * 3 * weight * (1 - weight) * (eta.seconds - progress.seconds) ** 2
    assert both.scale == pytest.approx(math.sqrt(narrow + apart))


def test_who_disagree_are_less_sure() -> None:
    """The further apart two sources are, the less sure is what is made of them."""
    agreed, disagreed = (
        forecast_of(*(at(100 * k, eta=1000 + extra, progress=10 * k) for k in range(6))) for extra in (0, 1000)
    )
    assert disagreed.scale > agreed.scale


def test_an_estimate_that_has_passed_is_not_believed_until_it_moves() -> None:
    """An end that did not come may come at any moment, ever less likely; a new estimate is a new forecast."""
    seen, scales = [at(0, eta=100), at(90, eta=100)], list[float]()
    for late in (5, 20, 80, 500):
        seen.append(at(100 + late, eta=100))
        overdue = forecast_of(*seen)
        assert overdue.seconds == 0
        scales.append(overdue.scale)
    assert scales == sorted(set(scales))
    assert forecast_of(*seen, at(700, eta=1000)).seconds == pytest.approx(300)


def test_an_end_that_has_just_passed_still_counts() -> None:
    """A sure end that has passed a moment ago outweighs a vague one far ahead; one that is long overdue does not."""
    seen = [at(100 * k, eta=1300, progress=9.8 * k) for k in range(1, 11)]
    seen.append(at(1025, eta=1300, progress=99))
    assert forecast_of(*seen).seconds < 7
    assert forecast_of(*seen, at(1220, eta=1300, progress=99)).seconds > 30


def test_an_estimate_that_has_passed_leaves_it_to_the_others() -> None:
    """As long as the progress still foretells an end, an eta that lies in the past does not count."""
    seen = [at(50 * k, eta=90, progress=5.4 * k) for k in range(1, 8)]
    assert forecast_of(*seen).seconds == pytest.approx(576, rel=0.15)


def test_a_job_that_has_done_all_its_work_may_end_at_any_moment() -> None:
    """At 100 % a job is about to end; the longer it shows that, the less is known."""
    seen = [at(100 * k, progress=20 * k) for k in range(1, 6)]
    just, long = forecast_of(*seen), forecast_of(*seen, *(at(500 + 60 * k, progress=100) for k in range(1, 12)))
    assert just.seconds == long.seconds == 0
    assert long.scale > 10 * just.scale


def test_a_job_that_shows_a_hundred_per_cent_for_long_is_judged_by_its_estimate() -> None:
    """The longer all the work is said to be done, the more an estimate of an end that lies ahead counts again."""
    assert forecast_of(at(50, eta=100, progress=50), at(60, eta=100, progress=100)).seconds < 2
    late = [at(50, eta=100, progress=50), at(60, eta=100, progress=100), at(90, eta=100, progress=100)]
    assert forecast_of(*late).seconds == pytest.approx(10, abs=1)


def test_progress_that_falls_begins_anew() -> None:
    """Work that was done counts from when it was seen done last: progress taken back is not at its end any more."""
    again = forecast_of(at(100, progress=100), at(110, progress=10), at(200, progress=50))
    assert 50 < again.seconds < 300


def test_a_clock_that_was_set_back_spoils_nothing() -> None:
    """Answers from machines whose clocks differ leave a forecast that can be worked with."""
    back = forecast_of(*CLOCK_SET_BACK)
    assert back.seconds == 0
    assert back.scale > 0
    assert forecast_of(at(3600, eta=100), at(10, eta=100)).seconds == 90


def test_two_answers_within_one_moment_are_one() -> None:
    """Of two sightings at the same time the later holds, and the other does not count as a movement."""
    ahead = forecast_of(at(100, eta=900), at(100, eta=1100))
    assert ahead.seconds == 1000
    assert ahead == forecast_of(at(100, eta=1100))
    progress = memory_of([at(100, progress=41), at(100, progress=47)]).progress
    assert progress is not None
    assert progress.drift == 0


def test_leaving_the_queue_keeps_what_the_eta_has_shown() -> None:
    """How well the eta has done so far is still known when the job starts; a progress begins there."""
    queued = memory_of(at(10 * k, eta=500 + 5 * k, is_running=False) for k in range(5))
    assert queued.progress is None
    started = update_forecast(queued, at(60, eta=530, progress=4))
    assert queued.eta is not None
    assert started.eta is not None
    assert started.eta.baseline.observation == queued.eta.baseline.observation
    assert started.progress is not None


def test_going_back_to_the_queue_forgets_the_progress() -> None:
    """A job that failed on its machine and waits to run again is not drawn on from what it had done."""
    ran = memory_of(at(10 * k, progress=10 * k) for k in range(1, 6))
    assert forecast(ran) is not None
    waits = update_forecast(ran, at(60, progress=50, is_running=False))
    assert waits.progress is None
    assert forecast(waits) is None


def test_a_job_that_was_started_again_between_two_polls_begins_anew() -> None:
    """A later start is another run: neither its progress nor its being done so far counts for it."""
    ran = memory_of([at(50, progress=50), at(100, progress=100)])
    again = Sample(START + 150, START + 120, is_running=True, progress=11, eta=None, updated=START + 150)
    assert update_forecast(ran, again).complete_since is None
    assert forecast_of(at(50, progress=50), at(100, progress=100), again).seconds == pytest.approx(230, rel=0.1)


def test_what_is_waited_for_has_no_progress() -> None:
    """A progress foretells an end only while the job runs."""
    assert forecast(memory_of(at(10 * k, progress=10 * k, is_running=False) for k in range(1, 6))) is None


@pytest.mark.parametrize("state", [JobState.CREATED, JobState.PENDING, JobState.QUEUED])
def test_a_retried_diff_that_waits_is_not_running(state: JobState) -> None:
    """A diff that waits to run again may still tell when its last run was started; that is not this run's start."""
    updated = NOW - timedelta(seconds=20)
    job = ImageDiffJob(
        id=5678,
        state=state,
        created_at=NOW - timedelta(days=2),
        updated_at=updated,
        started_at=NOW - timedelta(days=1),
        progress=40,
    )
    sighting = Sample.of(job, NOW)
    assert not sighting.is_running
    assert sighting.since == updated.timestamp()
    assert sighting.age == 20


@pytest.mark.parametrize("state", [JobState.RUNNING, None])
def test_a_job_that_has_started_is_running(state: JobState | None) -> None:
    """A job that tells when it started is seen from there, also in a state that nobody knows."""
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
        START, started.timestamp(), is_running=True, progress=60, eta=START + 60, updated=START
    )
    assert Sample.of(job, NOW).age == 90


def test_a_job_that_runs_without_telling_since_when_has_no_progress() -> None:
    """A running job whose start is not told is running all the same, but its progress leads nowhere."""
    job = ImageVersionJob(
        id=9012,
        state=JobState.RUNNING,
        created_at=NOW - timedelta(days=2),
        updated_at=NOW - timedelta(seconds=5),
        progress=60,
    )
    assert Sample.of(job, NOW) == Sample(START, START - 5, is_running=True, progress=0, eta=None, updated=START - 5)


def test_what_has_not_begun_yet_is_a_second_old() -> None:
    """A start that lies in the future, by a clock that differs, makes no age of less than a second."""
    assert at(0).age == at(-500).age == 1


def test_a_waiting_job_grows_old_however_often_it_is_updated() -> None:
    """A job that waits is as old as its wait, also where the server updates it with every poll."""
    memory = ForecastState()
    for now in range(1000, 1600, 20):
        memory = update_forecast(memory, Sample(now, now, is_running=False, progress=0, eta=None, updated=now))
    assert memory.last is not None
    assert memory.last.age == 580


def test_a_waiting_job_is_foretold_by_its_estimate_however_often_it_is_updated() -> None:
    """An update of a job that waits takes nothing from what the server expects of it."""
    seen = [Sample(now, now, is_running=False, progress=0, eta=1600, updated=now) for now in range(1000, 1200, 20)]
    assert forecast_of(*seen).seconds == 1600 - 1180


def test_a_waiting_job_is_not_about_to_end() -> None:
    """A retried diff that waits and still shows the progress of its last run foretells nothing."""
    waiting = Sample(now=1000.0, since=900.0, is_running=False, progress=100, eta=None, updated=900.0)
    assert forecast(memory_of([waiting, waiting])) is None


def test_an_eta_of_the_last_run_foretells_nothing() -> None:
    """An estimate of an end before the start was not made for this run."""
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
def test_an_eta_that_recedes_foretells_nothing(lead: float) -> None:
    """An estimate that stays a few seconds ahead whenever one looks says nothing; once it stands, it does again."""
    seen = [at(20 * k, eta=20 * k + lead) for k in range(2, 10)]
    assert forecast(memory_of(seen)) is None
    assert forecast_of(*(at(20 * k, eta=20 * k + lead, progress=2 * k) for k in range(2, 10))).seconds > 600
    assert forecast_of(*seen, *(at(200 + 20 * k, eta=450 - k) for k in range(5))).seconds == pytest.approx(170, rel=0.2)


@pytest.mark.parametrize("leap", [-400, 900])
def test_an_eta_that_leaps_was_made_anew(leap: float) -> None:
    """An estimate that is thrown over is believed where it stands now, and counts less beside a steady progress."""
    held = [at(50 * k, eta=1000 - k) for k in range(6)]
    leapt = at(300, eta=995 + leap)
    assert forecast_of(*held, leapt).seconds == pytest.approx(695 + leap, abs=1)
    assert forecast_of(*held, leapt).scale > 2 * forecast_of(leapt).scale


@unhurried
@given(st.integers(400, 50_000), st.sampled_from([5, 10, 20, 25]), st.floats(0.8, 1.3))
def test_a_progress_in_coarse_steps_is_drawn_on(duration: int, step: int, power: float) -> None:
    """A progress that moves every few polls only is judged by the moments at which it moved."""

    def percents(seconds: float) -> int:
        return step * math.floor(100 / step * math.pow(seconds / duration, power))

    polls = [duration * part / 60 for part in range(58)]
    ahead = forecast_of(*(at(seconds, progress=percents(seconds)) for seconds in polls))
    assert abs(polls[-1] + ahead.seconds - duration) < 3 * ahead.scale + 0.05 * duration


@pytest.mark.parametrize("power", [0.5, 0.7])
def test_a_progress_that_is_seen_through_is_as_sure_as_its_last_percent(power: float) -> None:
    """Half a percent of the work leaves open so much of the end, and how the progress follows time a little more."""
    seen = [at(k, progress=100 * (k / 1000) ** power) for k in range(10, 601, 10)]
    half_a_percent = 0.005 / math.sqrt(3)
    by_work = 1000 / power * half_a_percent / 0.6**power
    assert 1.3 < forecast_of(*seen).scale / (math.sqrt(3) / math.pi * (1 + by_work)) < 1.7


def test_a_step_that_was_taken_between_two_polls_was_taken_halfway() -> None:
    """What is seen at 50 and then at 75 has reached 75 somewhere in between, which is surer than anything up to 100."""
    ahead = forecast_of(at(900, progress=50), at(1000, progress=75))
    assert ahead.seconds == pytest.approx(950 / 0.75 - 1000, abs=5)
    assert ahead.scale < 55


@pytest.mark.parametrize(("progress", "middle"), [(44, 44.5), (45, 47.5), (40, 50)])
def test_steps_of_five_percents_or_more_are_believed(progress: int, middle: float) -> None:
    """Whoever is seen at 45 may move in fives and be anywhere up to 50; who is seen at 44 does not move in fours."""
    assert forecast_of(at(450, progress=progress)).seconds == pytest.approx(45_000 / middle - 450)


def test_a_coarse_step_is_less_sure_than_a_fine_one() -> None:
    """A progress that has only been seen at 90 may be anywhere up to 100; one that was seen at 89, too, may not."""
    assert forecast_of(at(900, progress=90)).scale > 1.4 * forecast_of(at(890, progress=89), at(900, progress=90)).scale


def test_the_moment_of_a_step_is_taken_from_the_server() -> None:
    """Where the server tells when a coarse progress last moved, the end is as sure as with single percents."""
    told, untold = (
        forecast_of(*(at(k, progress=k // 250 * 25, updated=k // 250 * 250 if tells else k) for k in range(1, 900, 90)))
        for tells in (True, False)
    )
    assert told.seconds == pytest.approx(1000 - 811, abs=12)
    assert told.scale < untold.scale / 2


def test_a_progress_is_not_missed_before_its_time() -> None:
    """Until the next step of a progress is due, by the way that it speeds up, nothing is learned from its absence."""
    seen = [at(seconds, progress=math.floor(4 * (seconds / 1000) ** 2) * 25) for seconds in range(20, 860, 20)]
    ends = {round(START + seconds + forecast_of(*seen[: seconds // 20]).seconds, 3) for seconds in range(720, 860, 20)}
    assert len(ends) == 1


def test_a_progress_that_stalls_puts_off_the_end() -> None:
    """A progress that has not moved for long has done less than was thought: its end moves away, and is less sure."""
    seen = [at(50 * k, progress=5 * k) for k in range(1, 9)]
    moving, stalled = forecast_of(*seen), forecast_of(*seen, *(at(400 + 50 * k, progress=40) for k in range(1, 7)))
    assert moving.seconds == pytest.approx(600, rel=0.05)
    assert 800 < stalled.seconds < 5000
    assert stalled.scale > 3 * moving.scale
