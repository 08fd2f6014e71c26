"""A state machine that checks the invariants of the client and the watcher under random actions and faults.

It takes random steps on a virtual clock: jobs begin, diffs are retried, watches start, end and resume from their
printed references, requests fail in every way, callers cancel, watchers close.
"""

from __future__ import annotations

from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, reject, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    run_state_machine_as_test,
)
from properties.model.event_log import assert_all_events_occurred, record, recorded_rule
from properties.model.invariants import RateCheck, assert_clean_shutdown, assert_everything_ends, assert_full_capacity
from properties.model.job_runs import TrackedJob, add_diff, add_version
from properties.model.network import Misbehaviour
from properties.model.retry_calls import RetryCall
from properties.model.third_parties import assert_refused_elsewhere
from properties.model.watch_groups import MANY_JOBS_METHODS, SINGLE_JOB_METHODS, WatchMethod
from properties.model.world import Settings, World

from clanforge_async import JobRef, until_eta
from clanforge_async.simulator import Drop, Envelope, Fault, GatewayError, Latency, Stale, Truncate, Unreadable

Target = tuple[TrackedJob, JobRef, int]

T = TypeVar("T")

WORLD_SETTINGS = settings(
    database=None,
    deadline=None,
    phases=[Phase.generate],  # no shrinking: it can take minutes
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow],
)


def optional(strategy: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    """Draw None half of the time; in ``none() | strategy`` None would be one of all alternatives."""
    return st.booleans().flatmap(lambda drawn: strategy if drawn else st.none())


world_settings = st.builds(
    Settings,
    max_rate=st.sampled_from([None, 0.5, 2.0, 7.3, 20.0]),
    max_concurrency=st.sampled_from([1, 2, 5]),
    max_retries=st.sampled_from([0, 1, 3]),
    interval=st.sampled_from([until_eta(), until_eta(0.5, 8.0), 5.0]),
    outage_tolerance=st.sampled_from([0.0, 20.0, 300.0]),
    stale_after=st.sampled_from([5.0, 60.0]),
    skew=st.sampled_from([0.0, -3600.4, 900.7]),
    quirks=st.booleans(),
    is_third_party=st.booleans(),
    dates=st.sampled_from([True, True, True, False]),
    requests_per_token=st.sampled_from([None, None, 1.0, 5.0]),
    raising_filter=st.sampled_from([False, False, True]),
)
misbehaviours = st.lists(st.sampled_from(Misbehaviour), min_size=1, max_size=3)
token_failures = st.lists(st.sampled_from([None, 401, 500, 503]), min_size=1, max_size=4)
runs = st.fixed_dictionaries(
    {
        "duration": st.sampled_from([10.0, 31.7, 120.0, 900.0]),
        "queued_for": st.sampled_from([0.0, 4.2, 60.0]),
        "outcome": st.sampled_from(["completed", "completed", "failed", "squashed"]),
        "estimate": st.booleans(),
    }
)
previous_run: st.SearchStrategy[Fault] = st.builds(
    Stale, st.sampled_from([None, 5.0, 40.0]), retry_answer=st.booleans()
)
faults: st.SearchStrategy[Fault] = st.one_of(
    st.builds(Drop, after_acting=st.booleans()),
    st.builds(Latency, st.sampled_from([0.3, 8.0, 29.9, 45.0]), after_acting=st.booleans()),
    st.builds(GatewayError, st.sampled_from([500, 502, 503, 504]), after_acting=st.booleans()),
    st.builds(GatewayError, st.just(429), retry_after=st.sampled_from([None, 0, 7, 90]), as_date=st.booleans()),
    st.builds(GatewayError, st.just(503), retry_after=st.sampled_from([3, 70])),
    st.just(Truncate()),
    st.builds(Unreadable, html=st.booleans()),
    st.builds(Envelope, st.sampled_from(["image locked by diffid: 5", "no"])),
    previous_run,
)
routes = st.sampled_from([None, "image-diff retry", "image-diff status", "image-version status"])
timeouts = st.sampled_from([None, None, 0.0, 0.04, 3.0, 47.0, 600.0])
waits = st.sampled_from([0.0, 0.01, 0.3, 2.0, 11.0, 31.0, 200.0, 1500.0])


class WatchMachine(RuleBasedStateMachine):
    """The rules and invariants of one world."""

    targets: Bundle[Target] = Bundle("targets")
    diffs: Bundle[TrackedJob] = Bundle("diffs")
    world: World | None = None

    @initialize(
        target=diffs,
        options=world_settings,
        usual=st.lists(faults, max_size=1),
        first=st.lists(runs, min_size=2, max_size=2),
    )
    def begin(self, options: Settings, usual: list[Fault], first: list[dict[str, Any]]) -> Any:
        self.world = self.w = World(options)
        self.rate_check = RateCheck(options.max_rate)
        for fault in usual:
            self.w.add_fault(fault, probability=0.2)
        return multiple(*(self._diff([run]) for run in first))

    @recorded_rule(target=targets, run=runs)
    def add_a_version(self, run: dict[str, Any]) -> Target:
        return self._add_target(add_version(self.w.simulator, len(self.w.jobs) + 1, run))

    @recorded_rule(target=diffs, runs_in_turn=st.lists(runs, min_size=1, max_size=3))
    def add_a_diff(self, runs_in_turn: list[dict[str, Any]]) -> TrackedJob:
        return self._diff(runs_in_turn)

    @recorded_rule(
        target=targets,
        tracked=diffs,
        fault=optional(faults),
        route=st.sampled_from([None, "image-diff retry"]),
        times=st.sampled_from([1, 2, None]),
        before_end=st.sampled_from([False, False, False, True]),
        refused=st.sampled_from([0, 0, 1, 9]),
        concurrent=st.sampled_from([0, 0, 1, 2]),
        misbehaving=optional(misbehaviours),
        wait=waits,
    )
    def retry(
        self,
        *,
        tracked: TrackedJob,
        fault: Fault | None,
        route: str | None,
        times: int | None,
        before_end: bool,
        refused: int,
        concurrent: int,
        misbehaving: list[Misbehaviour] | None,
        wait: float,
    ) -> Any:
        if not before_end:
            self.w.wait_for_end(tracked)
        if fault is not None:
            self.w.add_fault(fault, id=tracked.ref.id, route=route, times=times)
        self.w.refuse_connections(refused)
        self.w.misbehave(misbehaving or [])
        call, *_ = [self.w.retry(tracked) for _ in range(1 + concurrent)]
        self.w.pass_time(wait)
        return self._target_of(call)

    @recorded_rule(
        target=targets,
        tracked=diffs,
        fault=previous_run,
        method=st.sampled_from(SINGLE_JOB_METHODS),
        seconds=timeouts,
        wait=waits,
    )
    def retry_and_see_the_previous_run(
        self, *, tracked: TrackedJob, fault: Fault, method: WatchMethod, seconds: float | None, wait: float
    ) -> Any:
        self.w.clear_faults()
        self.w.wait_for_end(tracked)
        self.w.add_fault(fault, id=tracked.ref.id)
        call = self.w.retry(tracked)
        self.w.pass_time(2)
        if call.answer is not None:
            self.w.watch(method, [(tracked, call.answer.ref, call.run)], seconds)
        self.w.pass_time(wait)
        return self._target_of(call)

    @recorded_rule(tracked=diffs, method=st.sampled_from(SINGLE_JOB_METHODS), seconds=timeouts)
    def watch_without_newer_than(self, tracked: TrackedJob, method: WatchMethod, seconds: float | None) -> None:
        self.w.watch(method, [(tracked, tracked.ref, 0)], seconds)

    @recorded_rule(chosen=targets, method=st.sampled_from(SINGLE_JOB_METHODS), seconds=timeouts)
    def watch(self, chosen: Target, method: WatchMethod, seconds: float | None) -> None:
        self.w.watch(method, [chosen], seconds)

    @recorded_rule(
        index=st.integers(0, 99),
        is_terminal=st.booleans(),
        method=st.sampled_from(SINGLE_JOB_METHODS),
        seconds=timeouts,
    )
    def watch_an_earlier_snapshot(
        self, *, index: int, is_terminal: bool, method: WatchMethod, seconds: float | None
    ) -> None:
        if seen := [each for each in self.w.snapshots if each[1].is_terminal is is_terminal]:
            record(f"target: {'terminal' if is_terminal else 'unfinished'} job")
            self.w.watch(method, [seen[index % len(seen)]], seconds)

    @recorded_rule(
        chosen=st.lists(targets, min_size=1, max_size=5, unique_by=lambda target: target[0].ref),
        method=st.sampled_from(MANY_JOBS_METHODS),
        seconds=timeouts,
    )
    def watch_several(self, chosen: list[Target], method: WatchMethod, seconds: float | None) -> None:
        self.w.watch(method, chosen, seconds)

    @recorded_rule(seconds=waits, cleared=st.booleans())
    def pass_time(self, *, seconds: float, cleared: bool) -> None:
        if cleared:
            self.w.clear_faults()
        self.w.pass_time(seconds)

    @recorded_rule(
        fault=faults,
        route=routes,
        probability=st.sampled_from([0.3, 1.0]),
        times=st.sampled_from([1, 2, 5, None]),
        refused=st.sampled_from([0, 0, 1, 4]),
    )
    def add_fault(
        self, *, fault: Fault, route: str | None, probability: float, times: int | None, refused: int
    ) -> None:
        self.w.add_fault(fault, route=route, probability=probability, times=times)
        self.w.refuse_connections(refused)

    @precondition(lambda self: self.w.settings.is_third_party)
    @recorded_rule(wrong=misbehaviours)
    def transport_misbehaves(self, wrong: list[Misbehaviour]) -> None:
        self.w.misbehave(wrong)

    @precondition(lambda self: self.w.token_auth is not None)
    @recorded_rule(failures=token_failures)
    def token_endpoint_fails(self, failures: list[int | None]) -> None:
        self.w.fail_tokens(failures)

    @precondition(lambda self: self.w.network.log)  # the first use decides about the loop
    @recorded_rule()
    def use_client_from_another_loop(self) -> None:
        assert_refused_elsewhere(lambda: self.w.client.image_versions.status(1))

    @precondition(lambda self: self.w.watch_groups)
    @recorded_rule()
    def use_watcher_from_another_loop(self) -> None:
        assert_refused_elsewhere(lambda: self.w.watcher.wait(JobRef.image_version(1)))

    @precondition(lambda self: self.w.watch_groups or self.w.retry_calls)
    @recorded_rule(index=st.integers(0, 9), wait=st.sampled_from([0.0, 0.2]))
    def cancel_a_task(self, index: int, wait: float) -> None:
        tasks = [call.task for call in self.w.retry_calls if call.task is not None]
        tasks += [group.task for group in self.w.watch_groups]
        tasks[index % len(tasks)].cancel()
        self.w.pass_time(wait)

    @precondition(lambda self: self.w.watch_groups)
    @recorded_rule(seconds=timeouts)
    def reopen_watcher(self, seconds: float | None) -> None:
        for watch in self.w.close_watcher():
            ref = JobRef.parse(str(watch.ref))
            assert ref == watch.ref
            record("watch: resumed")
            self.w.watch(SINGLE_JOB_METHODS[0], [(watch.tracked, ref, watch.first_run)], seconds)

    @invariant()
    def limits_hold(self) -> None:
        if self.world is not None:
            assert self.world.network.most_in_flight <= self.world.settings.max_concurrency
            self.rate_check.check([logged.sent for logged in self.world.network.log])

    @invariant()
    def no_loop_errors(self) -> None:
        if self.world is not None:
            assert self.world.loop_errors == []

    def teardown(self) -> None:
        if self.world is None:
            return
        try:
            assert_everything_ends(self.world)
            assert_full_capacity(self.world)
            assert_clean_shutdown(self.world)
            self.limits_hold()
            self.no_loop_errors()
        finally:
            self.world.close()

    def _diff(self, runs_in_turn: list[dict[str, Any]]) -> TrackedJob:
        tracked = add_diff(self.w.simulator, len(self.w.jobs) + 1, runs_in_turn)
        self._add_target(tracked)
        return tracked

    def _target_of(self, call: RetryCall) -> Any:
        if call.answer is None:
            return multiple()
        self.w.snapshots.append((call.tracked, call.answer, call.run))
        return call.tracked, call.answer.ref, call.run

    def _add_target(self, tracked: TrackedJob) -> Target:
        self.w.jobs.append(tracked)
        self.w.check()
        return tracked, tracked.ref, 0


class SeededMachine(WatchMachine):
    """One world per seed: without the simplest world, with which Hypothesis always begins."""

    @initialize(nonce=st.integers(0, 2**32))
    def skip_the_simplest(self, nonce: int) -> None:
        if nonce == 0:
            reject()


def run_world(number: int) -> None:
    """Run the world of a seed; the same seed runs the same world."""
    run_state_machine_as_test(seed(number)(SeededMachine), settings=settings(WORLD_SETTINGS, max_examples=1))


class TestWatchMachine(WatchMachine.TestCase):  # type: ignore[misc, valid-type] # made when the machine is
    """Run the machine in many worlds, and check that all of its rules ran."""

    settings = settings(WORLD_SETTINGS, derandomize=True, max_examples=60)

    def runTest(self) -> None:  # noqa: N802 - unittest's name for it
        super().runTest()
        assert_all_events_occurred()
