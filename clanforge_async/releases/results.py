"""Results of releases, and the errors of releases that fail."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

from attrs import field, frozen

from clanforge_async._watching.serialization import register_kind
from clanforge_async.errors import ClanforgeError
from clanforge_async.images import ImageOptions, ImageRollout
from clanforge_async.jobs import ImageDiffJob, ImageUpdateJob, ImageVersionJob, Job
from clanforge_async.refs import JobRef
from clanforge_async.releases.release import ImageRelease, ReleaseStep
from clanforge_async.releases.token import ReleaseToken

if TYPE_CHECKING:
    from collections.abc import Sequence

Outcome: TypeAlias = Literal["released", "unchanged", "held", "rejected", "failed"]
EventKind: TypeAlias = Literal[
    "started", "waiting", "job", "adopted", "approved", "held", "rejected", "rollout", "finished"
]


register_kind("release-token", ReleaseToken, str, ReleaseToken.parse)
register_kind("release-step", ReleaseStep, str, ReleaseStep)


class ReleaseError(ClanforgeError):
    """A release ended before the machines ran the build. The reason, if it is an error, is chained as the cause.

    Attributes:
        step: The step in which it ended.
        token: The state of the release, with which to resume it.
        job: The job that failed, if one did.
    """

    def __init__(self, message: str, *, step: ReleaseStep, token: ReleaseToken, job: Job | None = None) -> None:
        super().__init__(f"release of image {token.image_id}, step {step}: {message}")
        self.step = step
        self.token = token
        self.job = job


class ReleaseRejectedError(ReleaseError):
    """The diff was not approved, and has been rejected; or the release was aborted."""


class ReleaseSupersededError(ReleaseError):
    """A newer version of the image is being installed instead."""


class ReleaseTimeoutError(ReleaseError, TimeoutError):
    """The release, or one of its steps, timed out. The server's job continues; the token resumes the release."""


class RolloutError(ReleaseError):
    """The rollout ended with more failed machines than before the release, beyond the tolerated number.

    Attributes:
        step: The step in which it ended: the rollout.
        token: The state of the release.
        job: The version's job, if it was read.
        rollout: The counts of machines at the end.
    """

    def __init__(
        self,
        message: str,
        *,
        step: ReleaseStep,
        token: ReleaseToken,
        rollout: ImageRollout,
        job: Job | None = None,
    ) -> None:
        super().__init__(message, step=step, token=token, job=job)
        self.rollout = rollout


@frozen(kw_only=True)
class ReleaseResult:
    """How a release ended.

    Attributes:
        outcome: ``"released"``; ``"unchanged"``: the build equals the image; ``"held"``: the diff waits for approval;
            ``"rejected"``: the diff was not approved; ``"failed"``: anything else.
        image_id: The image.
        update: The update's job, if it was read.
        diff: The diff's job, if it was read.
        version: The version's job, if it was read.
        rollout: The counts of machines at the end, if they were read.
        rollout_observed: Whether the beginning of the rollout was seen. False if no machine has begun to install the
            version within ``settle`` seconds.
        token: The state at the end, with which to resume the release. None if the release did not start.
        error: The error that `Releaser.run` raises. For an unchanged build: the refusal of a full version, if any.
        elapsed: Seconds from the call to the end.
    """

    outcome: Outcome
    image_id: int
    update: ImageUpdateJob | None = None
    diff: ImageDiffJob | None = None
    version: ImageVersionJob | None = None
    rollout: ImageRollout | None = None
    rollout_observed: bool = False
    token: ReleaseToken
    error: Exception | None = None
    elapsed: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the release ended as released, unchanged or held."""
        return self.outcome in ("released", "unchanged", "held")

    def unwrap(self) -> Self:
        """Return the result itself if it is ``ok``.

        Raises:
            Exception: The release was rejected or failed; the exception is ``error``.
        """
        if not self.ok and self.error is not None:
            raise self.error.with_traceback(None)  # a traceback would grow each time that the error is raised
        return self


@frozen(kw_only=True)
class ReleasePlan:
    """Result of a dry run: the calls that a release would send, and the problems that would end it.

    Attributes:
        image_id: The image.
        options: The image options; None if they could not be read.
        rollout: The counts of machines before the release; None if they could not be read, or would not be waited for.
        lock: The diff or update that locks the image, if any.
        steps: The calls that would be sent, with the source's secrets masked.
        problems: Errors that would end the release.
    """

    image_id: int
    options: ImageOptions | None = None
    rollout: ImageRollout | None = None
    lock: JobRef | None = None
    steps: Sequence[str] = ()
    problems: Sequence[ClanforgeError] = ()

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems


@frozen(kw_only=True)
class AbortResult:
    """Result of an abort.

    Attributes:
        rejected: Whether the release's diff is rejected.
        lock: The diff or update that still locks the image: another client's, or one that may belong to the release.
        version: The release's version, if the abort came too late because it is already being rolled out.
    """

    rejected: bool
    lock: JobRef | None = None
    version: JobRef | None = None


@frozen(kw_only=True)
class ReleaseEvent:
    """An event of a release.

    Attributes:
        release: The release.
        step: Its current step.
        kind: ``"started"``: the step begins. ``"waiting"``: for another release, or until another client's lock is
            gone. ``"job"``: a new snapshot. ``"adopted"``: a call's response was lost, and the job that it seems to
            have created now belongs to the release. ``"approved"``, ``"held"``, ``"rejected"``: the decision about the
            diff. ``"rollout"``: new counts. ``"finished"``: the release has ended.
        job: The job's snapshot, if the event is about one.
        rollout: The counts of machines, if the event is about them.
        token: The state of the release, with which to resume it.
        at: Time of the event, by the local clock, in UTC.
    """

    release: ImageRelease
    step: ReleaseStep
    kind: EventKind
    job: Job | None = None
    rollout: ImageRollout | None = None
    token: ReleaseToken
    at: datetime = field()
