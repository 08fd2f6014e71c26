"""Whatever anybody does, and whatever goes wrong: what holds of the client and the watcher all the time.

A machine takes steps at random on a virtual clock: jobs begin, diffs are retried, watches start, end and are taken up
again from their printed references, requests fail in every way, callers lose patience, watchers are closed.
"""

from __future__ import annotations

from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition
from properties.model.attempts import Attempt
from properties.model.chronicle import assert_all_has_happened, chronicled, happens
from properties.model.limits import Pace, assert_able, assert_ends, assert_leaves_nothing
from properties.model.truth import Subject, diff_of, version_of
from properties.model.watches import ALONE, TOGETHER, Form
from properties.model.world import Settings, World

from clanforge_async import JobRef, until_eta
from clanforge_async.simulator import Drop, Envelope, Fault, GatewayError, Latency, Stale, Truncate, Unreadable

Target = tuple[Subject, JobRef, int]

T = TypeVar("T")


def perhaps(strategy: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    """Draw nothing every other time; of ``none() | strategy`` the first would be one of all alternatives."""
    return st.booleans().flatmap(lambda drawn: strategy if drawn else st.none())


settings_of_a_world = st.builds(
    Settings,
    max_rate=st.sampled_from([None, 0.5, 2.0, 7.3, 20.0]),
    max_concurrency=st.sampled_from([1, 2, 5]),
    max_retries=st.sampled_from([0, 1, 3]),
    interval=st.sampled_from([until_eta(), until_eta(0.5, 8.0), 5.0]),
    outage_tolerance=st.sampled_from([0.0, 20.0, 300.0]),
    stale_after=st.sampled_from([5.0, 60.0]),
    skew=st.sampled_from([0.0, -3600.4, 900.7]),
    quirks=st.booleans(),
)
runs = st.fixed_dictionaries(
    {
        "duration": st.sampled_from([10.0, 31.7, 120.0, 900.0]),
        "queued_for": st.sampled_from([0.0, 4.2, 60.0]),
        "outcome": st.sampled_from(["completed", "completed", "failed", "squashed"]),
        "estimate": st.booleans(),
    }
)
earlier_run: st.SearchStrategy[Fault] = st.builds(Stale, st.sampled_from([None, 5.0, 40.0]), retry_answer=st.booleans())
faults: st.SearchStrategy[Fault] = st.one_of(
    st.builds(Drop, after_acting=st.booleans()),
    st.builds(Latency, st.sampled_from([0.3, 8.0, 29.9, 45.0]), after_acting=st.booleans()),
    st.builds(GatewayError, st.sampled_from([500, 502, 503, 504]), after_acting=st.booleans()),
    st.builds(GatewayError, st.just(429), retry_after=st.sampled_from([None, 0, 7, 90]), as_date=st.booleans()),
    st.builds(GatewayError, st.just(503), retry_after=st.sampled_from([3, 70])),
    st.just(Truncate()),
    st.builds(Unreadable, html=st.booleans()),
    st.builds(Envelope, st.sampled_from(["image locked by diffid: 5", "no"])),
    earlier_run,
)
routes = st.sampled_from([None, "image-diff retry", "image-diff status", "image-version status"])
patience = st.sampled_from([None, None, 0.0, 0.04, 3.0, 47.0, 600.0])
waits = st.sampled_from([0.0, 0.01, 0.3, 2.0, 11.0, 31.0, 200.0, 1500.0])


class Clanforge(RuleBasedStateMachine):
    """One world from its beginning to its end."""

    targets: Bundle[Target] = Bundle("targets")
    diffs: Bundle[Subject] = Bundle("diffs")
    world: World | None = None

    @initialize(
        target=diffs,
        options=settings_of_a_world,
        usual=st.lists(faults, max_size=1),
        first=st.lists(runs, min_size=2, max_size=2),
    )
    def begin(self, options: Settings, usual: list[Fault], first: list[dict[str, Any]]) -> Any:
        self.world = self.w = World(options)
        self.pace = Pace(options.max_rate)
        for fault in usual:
            self.w.break_down(fault, probability=0.2)
        return multiple(*(self._diff([run]) for run in first))

    @chronicled(target=targets, run=runs)
    def add_a_version(self, run: dict[str, Any]) -> Target:
        return self._added(version_of(self.w.simulator, len(self.w.subjects) + 1, run))

    @chronicled(target=diffs, several=st.lists(runs, min_size=1, max_size=3))
    def add_a_diff(self, several: list[dict[str, Any]]) -> Subject:
        return self._diff(several)

    @chronicled(
        target=targets,
        subject=diffs,
        fault=perhaps(faults),
        route=st.sampled_from([None, "image-diff retry"]),
        times=st.sampled_from([1, 2, None]),
        rush=st.sampled_from([False, False, False, True]),
        refused=st.sampled_from([0, 0, 1, 9]),
        rivals=st.sampled_from([0, 0, 1, 2]),
        wait=waits,
    )
    def retry(
        self,
        *,
        subject: Subject,
        fault: Fault | None,
        route: str | None,
        times: int | None,
        rush: bool,
        refused: int,
        rivals: int,
        wait: float,
    ) -> Any:
        if not rush:
            self.w.outlast(subject)
        if fault is not None:
            self.w.break_down(fault, id=subject.ref.id, route=route, times=times)
        self.w.refuse(refused)
        attempt, *_ = [self.w.retry(subject) for _ in range(1 + rivals)]
        self.w.pass_time(wait)
        return self._retried(attempt)

    @chronicled(
        target=targets, subject=diffs, fault=earlier_run, form=st.sampled_from(ALONE), seconds=patience, wait=waits
    )
    def retry_and_see_the_run_before(
        self, *, subject: Subject, fault: Fault, form: Form, seconds: float | None, wait: float
    ) -> Any:
        self.w.mend()
        self.w.outlast(subject)
        self.w.break_down(fault, id=subject.ref.id)
        attempt = self.w.retry(subject)
        self.w.pass_time(2)
        if attempt.answer is not None:
            self.w.watch(form, [(subject, attempt.answer.ref, attempt.run)], seconds)
        self.w.pass_time(wait)
        return self._retried(attempt)

    @chronicled(subject=diffs, form=st.sampled_from(ALONE), seconds=patience)
    def watch_whatever_runs(self, subject: Subject, form: Form, seconds: float | None) -> None:
        self.w.watch(form, [(subject, subject.ref, 0)], seconds)

    @chronicled(chosen=targets, form=st.sampled_from(ALONE), seconds=patience)
    def watch(self, chosen: Target, form: Form, seconds: float | None) -> None:
        self.w.watch(form, [chosen], seconds)

    @chronicled(which=st.integers(0, 99), is_over=st.booleans(), form=st.sampled_from(ALONE), seconds=patience)
    def watch_a_job_that_was_seen(self, *, which: int, is_over: bool, form: Form, seconds: float | None) -> None:
        if seen := [each for each in self.w.seen if each[1].is_terminal is is_over]:
            happens(f"target: a job that is {'over' if is_over else 'not over'}")
            self.w.watch(form, [seen[which % len(seen)]], seconds)

    @chronicled(
        chosen=st.lists(targets, min_size=1, max_size=5, unique_by=lambda target: target[0].ref),
        form=st.sampled_from(TOGETHER),
        seconds=patience,
    )
    def watch_several(self, chosen: list[Target], form: Form, seconds: float | None) -> None:
        self.w.watch(form, chosen, seconds)

    @chronicled(seconds=waits, mended=st.booleans())
    def pass_time(self, *, seconds: float, mended: bool) -> None:
        if mended:
            self.w.mend()
        self.w.pass_time(seconds)

    @chronicled(
        fault=faults,
        route=routes,
        probability=st.sampled_from([0.3, 1.0]),
        times=st.sampled_from([1, 2, 5, None]),
        refused=st.sampled_from([0, 0, 1, 4]),
    )
    def break_down(
        self, *, fault: Fault, route: str | None, probability: float, times: int | None, refused: int
    ) -> None:
        self.w.break_down(fault, route=route, probability=probability, times=times)
        self.w.refuse(refused)

    @precondition(lambda self: self.w.parties or self.w.attempts)
    @chronicled(which=st.integers(0, 9), wait=st.sampled_from([0.0, 0.2]))
    def lose_patience(self, which: int, wait: float) -> None:
        tasks = [attempt.task for attempt in self.w.attempts if attempt.task is not None]
        tasks += [party.task for party in self.w.parties]
        tasks[which % len(tasks)].cancel()
        self.w.pass_time(wait)

    @precondition(lambda self: self.w.parties)
    @chronicled(seconds=patience)
    def start_anew(self, seconds: float | None) -> None:
        for watch in self.w.close_watcher():
            ref = JobRef.parse(str(watch.ref))
            assert ref == watch.ref
            happens("watch: taken up again")
            self.w.watch(ALONE[0], [(watch.subject, ref, watch.first_run)], seconds)

    @invariant()
    def no_limit_is_exceeded(self) -> None:
        if self.world is not None:
            assert self.world.network.most_in_flight <= self.world.settings.max_concurrency
            self.pace.check([passage.sent for passage in self.world.network.log])

    @invariant()
    def nobody_complains(self) -> None:
        if self.world is not None:
            assert self.world.complaints == []

    def teardown(self) -> None:
        if self.world is None:
            return
        try:
            assert_ends(self.world)
            assert_able(self.world)
            assert_leaves_nothing(self.world)
            self.no_limit_is_exceeded()
            self.nobody_complains()
        finally:
            self.world.close()

    def _diff(self, several: list[dict[str, Any]]) -> Subject:
        subject = diff_of(self.w.simulator, len(self.w.subjects) + 1, several)
        self._added(subject)
        return subject

    def _retried(self, attempt: Attempt) -> Any:
        if attempt.answer is None:
            return multiple()
        self.w.seen.append((attempt.subject, attempt.answer, attempt.run))
        return attempt.subject, attempt.answer.ref, attempt.run

    def _added(self, subject: Subject) -> Target:
        self.w.subjects.append(subject)
        self.w.see()
        return subject, subject.ref, 0


class TestClanforge(Clanforge.TestCase):  # type: ignore[misc, valid-type] # made when the machine is
    """The machine, run over many worlds; and that all of it has run."""

    settings = settings(
        derandomize=True,
        deadline=None,
        max_examples=120,
        phases=[Phase.generate],  # what fails is shown as it is: to make it smaller can take minutes
        stateful_step_count=40,
        suppress_health_check=[HealthCheck.too_slow],
    )

    def runTest(self) -> None:  # noqa: N802 - unittest's name for it
        super().runTest()
        assert_all_has_happened()
