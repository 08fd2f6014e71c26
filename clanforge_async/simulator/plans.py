"""Plans: all that will happen in one run of a job, settled when the run begins.

Whatever the server shows of a job at some moment follows from the run's plan and that moment alone, so it comes out
the same however often and in whatever order it is looked at. Moments are Unix seconds of the server's clock.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict, TypeVar

from attrs import Attribute, field, frozen

from clanforge_async.jobs import JobState

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

_Trait = TypeVar("_Trait")
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


class Traits(TypedDict, total=False):
    """What a `Run` may settle beyond its duration and outcome; see there."""

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


_seconds = _must(lambda value: 0 <= value < math.inf, "a number of seconds")


@frozen(kw_only=True)
class Run:
    """What one run of a job is to be like. What is left None is drawn from the simulator's seed and the job's id.

    Attributes:
        duration: Seconds that it runs when it completes, before the simulator's speed divides them.
        outcome: How it ends.
        queued_for: Seconds that it waits before it runs, divided by the speed likewise.
        fails_at: The fraction of its duration after which a run that does not complete ends.
        curve: The power by which progress follows the fraction of time: below 1 it slows down, above 1 it speeds up.
        step: The percentage points between two updates of its progress.
        estimate: Whether the server tells when it expects the end.
        estimate_error: By which fraction of the time that remains the estimate is late (or early, below 0).
        error: The message with which it fails.
    """

    duration: float = field(validator=_seconds)
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


class Stage(NamedTuple):
    """A state and since when a job is in it."""

    since: float
    state: JobState


@frozen(kw_only=True)
class Plan:
    """One run of a job, settled in every respect.

    Attributes:
        created: When the run is created.
        started: When it begins to run.
        ended: When it ends.
        completes: When it would end if all went well; the server's estimates aim there.
        outcome: The state in which it ends.
        curve: See `Run`.
        step: See `Run`.
        estimate_error: See `Run`; None: the server makes no estimate.
        error: The message with which it ends, if any.
        failures: How often the job failed before this run.
        not_before: The first second that the server may give as its last update, so that it is strictly newer than
            the run before, even when both fall into one second.
    """

    created: float
    started: float
    ended: float
    completes: float
    outcome: JobState
    curve: float
    step: int
    estimate_error: float | None
    error: str | None
    failures: int
    not_before: int

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The states that the run passes through, in their order."""
        waits = self.started - self.created
        return (
            Stage(self.created, JobState.CREATED),
            Stage(self.created + 0.2 * waits, JobState.PENDING),
            Stage(self.created + 0.5 * waits, JobState.QUEUED),
            Stage(self.started, JobState.RUNNING),
            Stage(self.ended, self.outcome),
        )


def draw(
    run: Run, rng: Random, *, created: float, speed: float = 1.0, failures: int = 0, not_before: int | None = None
) -> Plan:
    """Settle a run that is created at a moment."""
    # All is drawn, wanted or not, so that settling one trait by hand leaves the others as they were.
    curve, step = rng.uniform(0.75, 1.35), rng.choice((1, 2, 5))
    fails_at, error = rng.uniform(0.2, 0.9), rng.choice(_ERRORS)
    estimate_error = rng.uniform(-0.3, 0.5)
    started = created + run.queued_for / speed
    duration = run.duration / speed
    fraction = 1.0 if run.outcome == "completed" else _given(run.fails_at, fails_at)
    return Plan(
        created=created,
        started=started,
        ended=started + fraction * duration,
        completes=started + duration,
        outcome=_OUTCOMES[run.outcome],
        curve=_given(run.curve, curve),
        step=_given(run.step, step),
        estimate_error=_given(run.estimate_error, estimate_error) if run.estimate else None,
        error=_given(run.error, error) if run.outcome == "failed" else None,
        failures=failures,
        not_before=math.floor(created) if not_before is None else not_before,
    )


def _given(trait: _Trait | None, otherwise: _Trait) -> _Trait:
    return otherwise if trait is None else trait


def stage_at(plan: Plan, now: float) -> Stage:
    """Return the state that the job is in, and since when."""
    # At the very moment of its creation a run is Created, also one that does not wait: it is what a retry answers.
    if now <= plan.created:
        return plan.stages[0]
    return [stage for stage in plan.stages if stage.since <= now][-1]


def progress_at(plan: Plan, now: float) -> int:
    """Return the percentage that the server shows; it stays where it was when a job fails."""
    state = stage_at(plan, now).state
    if state is JobState.COMPLETED:
        return 100
    if state < JobState.RUNNING:
        return 0
    elapsed, duration = min(now, plan.ended) - plan.started, plan.completes - plan.started
    fraction = elapsed / duration if duration else 1.0
    return min(math.floor(100 * math.pow(fraction, plan.curve)), 99) // plan.step * plan.step


def updated_at(plan: Plan, now: float) -> float:
    """Return when the server last updated the job: at a change of its state, or at the last step of its progress."""
    since, state = stage_at(plan, now)
    if state is not JobState.RUNNING:
        return since
    reached = math.pow(progress_at(plan, now) / 100, 1 / plan.curve)
    return min(plan.started + reached * (plan.completes - plan.started), now)


def estimate_at(plan: Plan, now: float) -> float | None:
    """Return when the server expects the job to complete.

    An estimate is made anew with each update and errs by a share of the time that then remains, so it moves, gets
    better, and can pass before the next one.
    """
    if plan.estimate_error is None:
        return None
    return plan.completes + plan.estimate_error * (plan.completes - updated_at(plan, now))
