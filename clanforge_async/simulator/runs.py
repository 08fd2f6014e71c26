"""Runs of a job, their schedules, and the job's fields at any time.

A schedule is fixed when its run is created. Each field of a job follows from the schedule and the current time, so it
does not depend on how often or in which order the job is read. Times are Unix seconds of the server's clock.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar

from attrs import Attribute, evolve, field, frozen

from clanforge_async.jobs import Job, JobState
from clanforge_async.refs import EPOCH
from clanforge_async.simulator.states import StateChange, StateSequence, parse_states

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random


T = TypeVar("T")
Outcome = Literal["completed", "failed", "squashed"]
"""The result of a run."""

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
"""Seconds from the start of the last state to the estimated completion, for a run that never ends."""


class RunOptions(TypedDict, total=False):
    """Fields of a `Run` other than its states, duration, outcome and waiting time; see `Run`."""

    fails_at: float
    curve: float
    step: int
    estimate: bool
    estimate_error: float
    error: str


def _optional(is_valid: Callable[[Any], bool], expected: str) -> Callable[[Any, Attribute[Any], Any], None]:
    def validate(_run: object, attribute: Attribute[Any], value: object) -> None:
        if value is not None and not is_valid(value):
            msg = f"{attribute.name} must be {expected}, not {value!r}"
            raise ValueError(msg)

    return validate


def _validate_states(_run: object, _attribute: Attribute[str | None], value: str | None) -> None:
    if value is not None:
        parse_states(value)


_seconds = _optional(lambda value: 0 <= value < math.inf, "a number of seconds")


@frozen(kw_only=True)
class Run:
    """A run of a job. Options left None are drawn from the simulator's seed and the job's id.

    Pass either its duration or its states, such as ``created,running:40,failed``. States are names of `JobState`, case
    is ignored, in the order in which jobs pass through them; some may be left out. A colon and a number set the seconds
    for which a state lasts, 1 by default. The last state never ends. The first begins when the run is created, except
    that a run started by a retry is Created at that moment.

    Attributes:
        states: The states of the run. They define the outcome and all times, and exclude ``duration``, ``outcome``,
            ``queued_for`` and ``fails_at``.
        duration: Seconds in Running if the run completes. The simulator's speed divides these and all other seconds.
        outcome: The result of the run.
        queued_for: Seconds from its creation to Running.
        fails_at: The fraction of the duration after which a failed or squashed run ends.
        curve: Exponent of the progress as a function of the fraction of time: below 1, progress slows down; above 1, it
            speeds up.
        step: Percentage points between two updates of the progress.
        estimate: Whether the server estimates the time of completion.
        estimate_error: Error of the estimate as a fraction of the remaining time; negative if it is too early.
        error: The error message if the run fails.
    """

    states: str | None = field(default=None, validator=_validate_states)
    duration: float | None = field(default=None, validator=_seconds)
    outcome: Outcome = field(
        default="completed", validator=_optional(_OUTCOMES.__contains__, "completed, failed or squashed")
    )
    queued_for: float = field(default=0.0, validator=_seconds)
    fails_at: float | None = field(default=None, validator=_optional(lambda value: 0 <= value <= 1, "from 0 to 1"))
    curve: float | None = field(default=None, validator=_optional(lambda value: 0 < value < math.inf, "above 0"))
    step: int | None = field(default=None, validator=_optional(range(1, 101).__contains__, "a percentage"))
    estimate: bool = True
    estimate_error: float | None = field(
        default=None,
        validator=_optional(lambda value: -1 < value < math.inf, "above -1: an estimate is not in the past"),
    )
    error: str | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse contradictory arguments."""
        if (self.states is None) == (self.duration is None):
            msg = "a run needs either a duration or states"
            raise ValueError(msg)
        if self.states is not None and (self.outcome, self.queued_for, self.fails_at) != ("completed", 0, None):
            msg = "states define the outcome and all times: leave out outcome, queued_for and fails_at"
            raise ValueError(msg)


@frozen(kw_only=True)
class RunSchedule:
    """The schedule of a run: its states and their times.

    Attributes:
        created: The time of its creation.
        changes: Its states in order.
        completes: The time at which it would complete without a failure: the target of the server's estimates.
        curve: See `Run`.
        step: See `Run`.
        estimate_error: See `Run`; None: the server makes no estimate.
        error: The error message at the end, if any.
        failures: Number of earlier runs that failed.
        not_before: The earliest second to show as its last update, so that it is strictly newer than the previous run,
            even within the same second.
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
        """The time at which it starts to run, or ends without having run; infinite if it never does."""
        return _start_of(self.changes)

    @property
    def ended(self) -> float:
        """The time at which it ends; infinite if it never does."""
        return self.changes[-1].since if self.outcome.is_terminal else math.inf

    @property
    def outcome(self) -> JobState:
        """Its last state."""
        return self.changes[-1].state


def make_schedule(
    run: Run,
    rng: Random,
    *,
    created: float,
    speed: float = 1.0,
    failures: int = 0,
    not_before: int | None = None,
    runs_from: float = 0.0,
) -> RunSchedule:
    """Schedule a run.

    Args:
        run: The run.
        rng: Random number generator for the options that the run leaves open.
        created: The time of its creation.
        speed: The divisor of its durations.
        failures: Number of earlier runs that failed.
        not_before: See `RunSchedule`; None: the second of its creation, for a job's first run.
        runs_from: The time from which it can run, because the machine is then free; infinite: it never runs.
    """
    # Draw all options, even those that are given, so that giving one does not change the others.
    curve, step = rng.uniform(0.75, 1.35), rng.choice((1, 2, 5))
    fails_at, error = rng.uniform(0.2, 0.9), rng.choice(_ERRORS)
    estimate_error = rng.uniform(-0.3, 0.5)
    fraction = _or_default(run.fails_at, fails_at)
    sequence = _state_sequence(run, fraction)
    if not_before is not None and sequence[0].state is not JobState.CREATED:
        sequence = (StateChange(0, JobState.CREATED), *sequence)
    changes = tuple(StateChange(created + since / speed, state) for since, state in sequence)
    delay = max(runs_from - _start_of(changes), 0.0)
    return RunSchedule(
        created=created,
        changes=_delayed(changes, delay) if delay else changes,
        completes=created + _completion_time(run, sequence, fraction) / speed + delay,
        curve=_or_default(run.curve, curve),
        step=_or_default(run.step, step),
        estimate_error=_or_default(run.estimate_error, estimate_error) if run.estimate else None,
        error=_or_default(run.error, error) if sequence[-1].state is JobState.FAILED else None,
        failures=failures,
        not_before=math.floor(created) if not_before is None else not_before,
    )


def _start_of(changes: tuple[StateChange, ...]) -> float:
    return next((change.since for change in changes if change.state >= JobState.RUNNING), math.inf)


def _delayed(changes: tuple[StateChange, ...], delay: float) -> tuple[StateChange, ...]:
    waiting = tuple(change for change in changes if change.state < JobState.RUNNING)
    waiting = waiting or (StateChange(changes[0].since, JobState.CREATED),)
    active = (change for change in changes if change.state >= JobState.RUNNING)
    return (*waiting, *(StateChange(change.since + delay, change.state) for change in active))


def _state_sequence(run: Run, fraction: float) -> StateSequence:
    if run.states is not None:
        return parse_states(run.states)
    assert run.duration is not None  # noqa: S101 - a run has one of the two
    queued = run.queued_for
    running = run.duration if run.outcome == "completed" else fraction * run.duration
    return (
        StateChange(0, JobState.CREATED),
        StateChange(0.2 * queued, JobState.PENDING),
        StateChange(0.5 * queued, JobState.QUEUED),
        StateChange(queued, JobState.RUNNING),
        StateChange(queued + running, _OUTCOMES[run.outcome]),
    )


def _completion_time(run: Run, sequence: StateSequence, fraction: float) -> float:
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


def cut_short(schedule: RunSchedule, state: JobState, now: float, error: str | None = None) -> RunSchedule:
    """Return the schedule of a run that ends now, in another state than scheduled."""
    # At the moment of its creation, a run is in its first state.
    past = () if now <= schedule.created else (change for change in schedule.changes if change.since <= now)
    return evolve(schedule, changes=(*past, StateChange(now, state)), error=error)


def latest_change(schedule: RunSchedule, now: float) -> StateChange:
    """Return the state of the job and the time at which that state began."""
    # Even a run that does not wait is Created at the moment of its creation, as in the response to a retry.
    if now <= schedule.created:
        return schedule.changes[0]
    return [change for change in schedule.changes if change.since <= now][-1]


def progress_at(schedule: RunSchedule, now: float) -> int:
    """Return the progress in percent. It stays at its last value when a job fails."""
    state = latest_change(schedule, now).state
    if state is JobState.COMPLETED:
        return 100
    if state < JobState.RUNNING:
        return 0
    elapsed, duration = min(now, schedule.ended) - schedule.started, schedule.completes - schedule.started
    fraction = elapsed / duration if duration else 1.0
    return min(math.floor(100 * math.pow(fraction, schedule.curve)), 99) // schedule.step * schedule.step


def updated_at(schedule: RunSchedule, now: float) -> float:
    """Return the time of the job's last update: a change of its state or a step of its progress."""
    since, state = latest_change(schedule, now)
    if state is not JobState.RUNNING:
        return since
    reached = math.pow(progress_at(schedule, now) / 100, 1 / schedule.curve)
    return min(schedule.started + reached * (schedule.completes - schedule.started), now)


def estimate_at(schedule: RunSchedule, now: float) -> float | None:
    """Return the server's estimate of the time at which the job completes.

    Each update brings a new estimate, whose error is a fraction of the remaining time. So estimates change, become more
    precise, and can be in the past before the next update.
    """
    if schedule.estimate_error is None or schedule.completes == math.inf:
        return None
    return schedule.completes + schedule.estimate_error * (schedule.completes - updated_at(schedule, now))


AnyJob = TypeVar("AnyJob", bound=Job)


def snapshot(schedule: RunSchedule, cls: type[AnyJob], job_id: int, now: float) -> AnyJob:
    """Return the fields of a job at a time, with times in whole seconds, as the server sends them."""
    state = latest_change(schedule, now).state
    eta = estimate_at(schedule, now)
    return cls(
        id=job_id,
        state=state,
        created_at=_timestamp(schedule.created),
        updated_at=_timestamp(max(updated_at(schedule, now), schedule.not_before)),
        started_at=_timestamp(schedule.started) if state >= JobState.RUNNING else None,
        eta=None if eta is None else _timestamp(eta),
        progress=progress_at(schedule, now),
        failure_count=schedule.failures + (state is JobState.FAILED),
        error=schedule.error if state.is_terminal else None,
    )


def _timestamp(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=math.floor(seconds))
