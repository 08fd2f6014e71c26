"""The types of a release's decisions: its state, its rules, the actions that it can take and their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from attrs import evolve, field, frozen

from clanforge_async.errors import ConfigurationError, ImageLockedError
from clanforge_async.images import ImageInstall, ImageOptions, ImageRollout
from clanforge_async.jobs import ImageDiffJob, Job
from clanforge_async.refs import JobKind, JobRef
from clanforge_async.releases.release import ImageRelease, ReleaseStep
from clanforge_async.releases.results import Outcome, ReleaseError
from clanforge_async.releases.token import Call, Decision, ReleaseToken

SHORTEST_PAUSE, LONGEST_PAUSE = 5.0, 30.0
"""Shortest and longest pause between two reads while a release waits, in seconds."""

_GROWTH = 1.5
_IMAGE_LOCKED = 200  # the status with which the server reports a lock

NO_TIME = 1e-6
"""Remaining seconds up to which a time counts as over: rounding errors can leave a little."""


@frozen
class ReadOptions:
    """Read the options of the image."""


@frozen
class ReadRollout:
    """Read the rollout of the image, and the installs."""


@frozen
class ReadJob:
    """Read the status of a job once."""

    ref: JobRef


@frozen
class Watch:
    """Watch a job until it ends."""

    ref: JobRef


@frozen
class CreateJob:
    """Create the update or the diff."""

    call: Literal[Call.UPDATE, Call.DIFF]


@frozen
class RetryJob:
    """Retry the update or the diff."""

    ref: JobRef

    @property
    def call(self) -> Call:
        """The call."""
        return Call.UPDATE_RETRY if self.ref.kind is JobKind.IMAGE_UPDATE else Call.DIFF_RETRY


@frozen
class RejectDiff:
    """Reject the diff.

    Attributes:
        ref: The diff.
        reinstall: Whether the build machine is restored to its last known good state.
    """

    ref: JobRef
    reinstall: bool

    @property
    def call(self) -> Call:
        """The call."""
        return Call.REJECT


@frozen
class CreateVersion:
    """Create a version of the diff.

    Attributes:
        ref: The diff.
        full: Whether the version is full.
    """

    ref: JobRef
    full: bool

    @property
    def call(self) -> Call:
        """The call."""
        return Call.VERSION


@frozen
class Ask:
    """Ask whether the diff is approved."""

    diff: ImageDiffJob


@frozen
class Pause:
    """Wait for a number of seconds."""

    seconds: float


@frozen(eq=False)
class End:
    """End the release.

    Attributes:
        outcome: The outcome of the release.
        error: The error of a rejected or failed release. For an unchanged build: the refusal of a full version, if any.
    """

    outcome: Outcome
    error: Exception | None = None


Send: TypeAlias = CreateJob | RetryJob | RejectDiff | CreateVersion
"""A call with a side effect."""

Action: TypeAlias = ReadOptions | ReadRollout | ReadJob | Watch | Send | Ask | Pause
"""An action that a release can take next."""


@frozen(kw_only=True)
class Observation:
    """The result of an action.

    Attributes:
        result: The value that the action returned, or the error that it raised.
        at: Time of the result on a monotonic clock, in seconds.
        server_time: Time of the result by the server's clock, in Unix seconds.
    """

    result: Any
    at: float
    server_time: float


@frozen(kw_only=True)
class ReleaseRules:
    """A release and its limits: how long it waits, how often it retries and how many failures it tolerates.

    Attributes:
        release: The release.
        exclusive: Whether the caller guarantees that nothing else releases the image.
        lock_wait: Seconds to wait until another client's lock is gone.
        job_retries: Largest number of retries of a failed update, and of a failed diff.
        settle: Seconds after the version's end within which its rollout begins.
        tolerate_failed: Number of machines that may fail in addition to those that had failed before.
        outage_tolerance: Seconds for which all reads may fail before a wait gives up.
    """

    release: ImageRelease
    exclusive: bool = False
    lock_wait: float = 0.0
    job_retries: int = 0
    settle: float = 120.0
    tolerate_failed: int = 0
    outage_tolerance: float = 300.0

    @property
    def waits_for_rollout(self) -> bool:
        """Whether the release ends with the rollout."""
        return self.release.wait_for == "rollout"


def _no_jobs() -> Mapping[JobKind, Job]:
    return {}


@frozen(kw_only=True)
class ReleaseState:
    """The state of a release: its token, which outlives the process, and the observations of this process.

    Attributes:
        token: The state to resume from.
        is_free: Whether the image options show that the release can start.
        completed: The jobs that were seen to complete.
        failed: The failed job that is retried next, or the failed version.
        options: The image options that were read to resolve an unknown outcome.
        holder: The job that was read to resolve an unknown outcome.
        doubt: The error that left the outcome of a call unknown.
        may_repeat: Whether the caller has confirmed that the call with unknown outcome had no effect.
        resends: How often the call with unknown outcome was sent again.
        is_resending: Whether that call is sent again next.
        adopted: The job that was adopted last.
        refusal: The error with which the server refused a full version.
        locked_since: Time at which another client's lock was first seen; None: the image is free, or was not read.
        failing_since: Time at which the current series of failed reads began.
        waits: Number of consecutive pauses without a change.
        pause: Seconds to pause next.
        rollout: The latest counts of machines.
        end: The end of the release, once it is decided.
    """

    token: ReleaseToken
    is_free: bool = False
    completed: Mapping[JobKind, Job] = field(factory=_no_jobs)
    failed: Job | None = None
    options: ImageOptions | None = None
    holder: Job | None = None
    doubt: Exception | None = None
    may_repeat: bool = False
    resends: int = 0
    is_resending: bool = False
    adopted: JobRef | None = None
    refusal: Exception | None = None
    locked_since: float | None = None
    failing_since: float | None = None
    waits: int = 0
    pause: float = 0.0
    rollout: ImageRollout | None = None
    end: End | None = None

    def with_token(self, **changes: Any) -> ReleaseState:
        """Return the state with some fields of the token changed."""
        return evolve(self, token=evolve(self.token, **changes))


RolloutReading: TypeAlias = tuple[ImageRollout, Sequence[ImageInstall]]

_STEP_OF_CALL = {
    Call.UPDATE: ReleaseStep.UPDATE,
    Call.UPDATE_RETRY: ReleaseStep.UPDATE,
    Call.DIFF: ReleaseStep.DIFF,
    Call.DIFF_RETRY: ReleaseStep.DIFF,
    Call.REJECT: ReleaseStep.APPROVE,
    Call.VERSION: ReleaseStep.VERSION,
}


def current_step(state: ReleaseState, rules: ReleaseRules) -> ReleaseStep:
    """Return the step that a release is in."""
    token = state.token
    if token.intent is not None:
        return _STEP_OF_CALL[token.intent.call]
    if token.version is not None and not token.rejected:
        is_done = JobKind.IMAGE_VERSION in state.completed
        return ReleaseStep.ROLLOUT if is_done and rules.waits_for_rollout else ReleaseStep.VERSION
    return _step_to_diff(state, rules) if token.diff is None else _step_from_diff(state, rules)


def _step_to_diff(state: ReleaseState, rules: ReleaseRules) -> ReleaseStep:
    if state.token.update is not None:
        return ReleaseStep.DIFF if JobKind.IMAGE_UPDATE in state.completed else ReleaseStep.UPDATE
    if not state.is_free or (rules.waits_for_rollout and state.token.failed_before is None):
        return ReleaseStep.CHECK
    return ReleaseStep.UPDATE if rules.release.first_step == "update" else ReleaseStep.DIFF


def _step_from_diff(state: ReleaseState, rules: ReleaseRules) -> ReleaseStep:
    decision = state.token.decision
    if decision in (None, Decision.HELD):
        return ReleaseStep.APPROVE if JobKind.IMAGE_DIFF in state.completed else ReleaseStep.DIFF
    makes_full = decision is Decision.EMPTY and rules.release.on_empty == "full" and not state.token.rejected
    return ReleaseStep.VERSION if decision is Decision.APPROVED or makes_full else ReleaseStep.APPROVE


def fail(
    state: ReleaseState, rules: ReleaseRules, error: Exception, *, job: Job | None = None, message: str = ""
) -> ReleaseState:
    """Return the state of a release that fails with a `ReleaseError`, whose cause is the given error."""
    if isinstance(error, ConfigurationError):
        return evolve(state, end=End("failed", error))
    step = current_step(state, rules)
    failure = ReleaseError(message or f"{error}", step=step, token=state.token, job=job)
    failure.__cause__ = error
    return evolve(state, end=End("failed", failure))


def make_lock_error(image_id: int, holder: JobRef) -> ImageLockedError:
    """Return the error for an image whose options show another client's lock."""
    msg = f"image {image_id} is locked by {holder}"
    error = ImageLockedError(msg, holder=holder, status_code=_IMAGE_LOCKED)
    error.args = (msg,)  # without status and URL, since no response carried the error
    return error


def end_with(state: ReleaseState, rules: ReleaseRules, message: str) -> ReleaseState:
    """Return the state of a release that fails with a `ReleaseError` without a cause."""
    error = ReleaseError(message, step=current_step(state, rules), token=state.token)
    return evolve(state, end=End("failed", error))


def paused(state: ReleaseState, at_most: float) -> ReleaseState:
    """Return the state of a release that pauses; its pauses grow until something changes."""
    growing = min(SHORTEST_PAUSE * _GROWTH ** min(state.waits, 32), LONGEST_PAUSE)
    return evolve(state, pause=min(growing, at_most), waits=state.waits + 1)


def plain_ref(target: JobRef | Job) -> JobRef:
    """Return the reference to a job without ``newer_than``, to compare it with a lock, which names no run."""
    return JobRef(target.kind, target.id)


def diff_of(state: ReleaseState) -> ImageDiffJob | None:
    """Return the completed diff, if this process has seen it."""
    job = state.completed.get(JobKind.IMAGE_DIFF)
    return job if isinstance(job, ImageDiffJob) else None
