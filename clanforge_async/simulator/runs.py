"""Plans: all that will happen in one run of a job, settled when the run begins.

Whatever the server shows of a job at some moment follows from the run's plan and that moment alone, so it comes out
the same however often and in whatever order it is looked at. Moments are Unix seconds of the server's clock.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar

from attrs import Attribute, field, frozen

from clanforge_async.jobs import Job, JobState
from clanforge_async.refs import EPOCH
from clanforge_async.simulator.states import StateChange, StateSequence, parse_states

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random


T = TypeVar("T")
Outcome = Literal["completed", "failed", "squashed"]
"""How a run ends."""

_OUTCOMES: dict[Outcome, JobState] = {
    "completed": JobState.COMPLETED,
    "failed": JobState.FAILED,
    "squashed": JobState.SQUASHED,
}
_ERRORS = (
    "build machine ran out of disk space",
    "lost the connection to the build machine",
    "checksum mismatch in 1 file",
    "timed out while packaging",
)
_OVERDUE_AFTER = 3600.0
"""Seconds after which the server expects a job to complete that never ends."""


class RunOptions(TypedDict, total=False):
    """What a `Run` may settle beyond its states or its duration and outcome; see there."""

    fails_at: float
    curve: float
    step: int
    estimate: bool
    estimate_error: float
    error: str


def _must(hold: Callable[[Any], bool], what: str) -> Callable[[Any, Attribute[Any], Any], None]:
    def check(_run: object, attribute: Attribute[Any], value: object) -> None:
        if value is not None and not hold(value):
            msg = f"{attribute.name} must be {what}, not {value!r}"
            raise ValueError(msg)

    return check


def _parsable(_run: object, _attribute: Attribute[str | None], value: str | None) -> None:
    if value is not None:
        parse_states(value)


_seconds = _must(lambda value: 0 <= value < math.inf, "a number of seconds")


@frozen(kw_only=True)
class Run:
    """What one run of a job is to be like. What is left None is drawn from the simulator's seed and the job's id.

    It is given by its duration, or by its states in one line, such as ``created,running:40,failed``. These are names of
    `JobState` in any case, in the order in which jobs pass through them; some may be left out. A colon and a number
    give the seconds that a state lasts, 1 without. The last state is an end of the job, or it stays there for ever.
    The first holds from the very beginning, except that a run which a retry begins is Created at that moment.

    Attributes:
        states: The states that it passes through. They tell the outcome and all times, so ``duration``, ``outcome``,
            ``queued_for`` and ``fails_at`` are left out beside them.
        duration: Seconds that it runs when it completes. The simulator's speed divides these and all other seconds.
        outcome: How it ends.
        queued_for: Seconds that it waits before it runs.
        fails_at: The fraction of its duration after which a run that does not complete ends.
        curve: The power by which progress follows the fraction of time: below 1 it slows down, above 1 it speeds up.
        step: The percentage points between two updates of its progress.
        estimate: Whether the server tells when it expects the end.
        estimate_error: By which fraction of the time that remains the estimate is late (or early, below 0).
        error: The message with which it fails.
    """

    states: str | None = field(default=None, validator=_parsable)
    duration: float | None = field(default=None, validator=_seconds)
    outcome: Outcome = field(default="completed", validator=_must(_OUTCOMES.__contains__, "how a job ends"))
    queued_for: float = field(default=0.0, validator=_seconds)
    fails_at: float | None = field(default=None, validator=_must(lambda value: 0 <= value <= 1, "from 0 to 1"))
    curve: float | None = field(default=None, validator=_must(lambda value: 0 < value < math.inf, "above 0"))
    step: int | None = field(default=None, validator=_must(range(1, 101).__contains__, "a percentage"))
    estimate: bool = True
    estimate_error: float | None = field(
        default=None, validator=_must(lambda value: -1 < value < math.inf, "above -1: an estimate is not in the past")
    )
    error: str | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse what contradicts itself."""
        if (self.states is None) == (self.duration is None):
            msg = "a run needs either a duration or states"
            raise ValueError(msg)
        if self.states is not None and (self.outcome, self.queued_for, self.fails_at) != ("completed", 0, None):
            msg = "states tell the outcome and all times: leave out outcome, queued_for and fails_at"
            raise ValueError(msg)


@frozen(kw_only=True)
class RunSchedule:
    """One run of a job, settled in every respect.

    Attributes:
        created: When the run is created.
        changes: The states that it passes through, in their order.
        completes: When it would end if all went well; the server's estimates aim there.
        curve: See `Run`.
        step: See `Run`.
        estimate_error: See `Run`; None: the server makes no estimate.
        error: The message with which it ends, if any.
        failures: How often the job failed before this run.
        not_before: The first second that the server may give as its last update, so that it is strictly newer than
            the run before, even when both fall into one second.
    """

    created: float
    changes: tuple[StateChange, ...]
    completes: float
    curve: float
    step: int
    estimate_error: float | None
    error: str | None
    failures: int
    not_before: int

    @property
    def started(self) -> float:
        """When it begins to run, or ends without; infinite if it waits for ever."""
        return next((change.since for change in self.changes if change.state >= JobState.RUNNING), math.inf)

    @property
    def ended(self) -> float:
        """When it ends; infinite if it never does."""
        return self.changes[-1].since if self.outcome.is_terminal else math.inf

    @property
    def outcome(self) -> JobState:
        """The state that it stays in."""
        return self.changes[-1].state


def make_schedule(
    run: Run, rng: Random, *, created: float, speed: float = 1.0, failures: int = 0, not_before: int | None = None
) -> RunSchedule:
    """Settle a run that is created at a moment."""
    # All is drawn, wanted or not, so that settling one trait by hand leaves the others as they were.
    curve, step = rng.uniform(0.75, 1.35), rng.choice((1, 2, 5))
    fails_at, error = rng.uniform(0.2, 0.9), rng.choice(_ERRORS)
    estimate_error = rng.uniform(-0.3, 0.5)
    fraction = _or_default(run.fails_at, fails_at)
    sequence = _state_sequence(run, fraction)
    if not_before is not None and sequence[0].state is not JobState.CREATED:
        sequence = (StateChange(0, JobState.CREATED), *sequence)
    return RunSchedule(
        created=created,
        changes=tuple(StateChange(created + since / speed, state) for since, state in sequence),
        completes=created + _completion(run, sequence, fraction) / speed,
        curve=_or_default(run.curve, curve),
        step=_or_default(run.step, step),
        estimate_error=_or_default(run.estimate_error, estimate_error) if run.estimate else None,
        error=_or_default(run.error, error) if sequence[-1].state is JobState.FAILED else None,
        failures=failures,
        not_before=math.floor(created) if not_before is None else not_before,
    )


def _state_sequence(run: Run, fraction: float) -> StateSequence:
    if run.states is not None:
        return parse_states(run.states)
    assert run.duration is not None  # noqa: S101 - a run has one of the two
    waits = run.queued_for
    runs = run.duration if run.outcome == "completed" else fraction * run.duration
    return (
        StateChange(0, JobState.CREATED),
        StateChange(0.2 * waits, JobState.PENDING),
        StateChange(0.5 * waits, JobState.QUEUED),
        StateChange(waits, JobState.RUNNING),
        StateChange(waits + runs, _OUTCOMES[run.outcome]),
    )


def _completion(run: Run, sequence: StateSequence, fraction: float) -> float:
    if run.duration is not None:
        return run.queued_for + run.duration
    since, state = sequence[-1]
    if not state.is_terminal:
        return since + _OVERDUE_AFTER
    if state is JobState.COMPLETED:
        return since
    started = next(change.since for change in sequence if change.state >= JobState.RUNNING)
    return started + (since - started) / fraction


def _or_default(option: T | None, default: T) -> T:
    return default if option is None else option


def latest_change(schedule: RunSchedule, now: float) -> StateChange:
    """Return the state that the job is in, and since when."""
    # At the very moment of its creation a run is Created, also one that does not wait: it is what a retry answers.
    if now <= schedule.created:
        return schedule.changes[0]
    return [change for change in schedule.changes if change.since <= now][-1]


def progress_at(schedule: RunSchedule, now: float) -> int:
    """Return the percentage that the server shows; it stays where it was when a job fails."""
    state = latest_change(schedule, now).state
    if state is JobState.COMPLETED:
        return 100
    if state < JobState.RUNNING:
        return 0
    elapsed, duration = min(now, schedule.ended) - schedule.started, schedule.completes - schedule.started
    fraction = elapsed / duration if duration else 1.0
    return min(math.floor(100 * math.pow(fraction, schedule.curve)), 99) // schedule.step * schedule.step


def updated_at(schedule: RunSchedule, now: float) -> float:
    """Return when the server last updated the job: at a change of its state, or at the last step of its progress."""
    since, state = latest_change(schedule, now)
    if state is not JobState.RUNNING:
        return since
    reached = math.pow(progress_at(schedule, now) / 100, 1 / schedule.curve)
    return min(schedule.started + reached * (schedule.completes - schedule.started), now)


def estimate_at(schedule: RunSchedule, now: float) -> float | None:
    """Return when the server expects the job to complete.

    An estimate is made anew with each update and errs by a share of the time that then remains, so it moves, gets
    better, and can pass before the next one.
    """
    if schedule.estimate_error is None:
        return None
    return schedule.completes + schedule.estimate_error * (schedule.completes - updated_at(schedule, now))


AnyJob = TypeVar("AnyJob", bound=Job)


def snapshot(schedule: RunSchedule, cls: type[AnyJob], job_id: int, now: float) -> AnyJob:
    """Return what the server knows of a job at a moment, in whole seconds as it counts them."""
    state = latest_change(schedule, now).state
    eta = estimate_at(schedule, now)
    return cls(
        id=job_id,
        state=state,
        created_at=_moment(schedule.created),
        updated_at=_moment(max(updated_at(schedule, now), schedule.not_before)),
        started_at=_moment(schedule.started) if state >= JobState.RUNNING else None,
        eta=None if eta is None else _moment(eta),
        progress=progress_at(schedule, now),
        failure_count=schedule.failures + (state is JobState.FAILED),
        error=schedule.error if state.is_terminal else None,
    )


def _moment(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=math.floor(seconds))
