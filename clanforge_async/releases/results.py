"""Results of releases, and the errors of releases that end in another way."""

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
    """The timeout of the release, or of a step, passed. The server's job goes on; the token resumes the release."""


class RolloutError(ReleaseError):
    """The rollout ended, and more machines have failed than before and than are tolerated.

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
        outcome: ``"released"``; ``"unchanged"``: the build equals the image; ``"held"``: it waits for an approval;
            ``"rejected"``: the diff was not approved; ``"failed"``: anything else.
        image_id: The image.
        update: The update's job, if it was read.
        diff: The diff's job, if it was read.
        version: The version's job, if it was read.
        rollout: The counts of machines at the end, if they were read.
        rollout_observed: Whether the beginning of the rollout was seen. False if no machine has begun to install the
            version within ``settle`` seconds.
        token: The state at the end, with which to resume the release. None if it did not begin.
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
            raise self.error.with_traceback(None)  # it would grow with each time that it is raised
        return self


@frozen(kw_only=True)
class ReleasePlan:
    """What a release would do, as reads alone tell.

    Attributes:
        image_id: The image.
        options: The answer of "Image options"; None if it could not be read.
        rollout: The counts of machines before the release; None if they could not be read, or would not be waited for.
        lock: The diff or update that holds the image, if any.
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
    """What an abort has done.

    Attributes:
        rejected: Whether the release's diff is rejected.
        lock: The diff or update that still holds the image: somebody else's, or one that may be the release's own.
        version: The release's version, if it was too late: it is being rolled out.
    """

    rejected: bool
    lock: JobRef | None = None
    version: JobRef | None = None


@frozen(kw_only=True)
class ReleaseEvent:
    """A moment of a release.

    Attributes:
        release: The release.
        step: Its present step.
        kind: ``"started"``: the step begins. ``"waiting"``: for another release, or for the end of somebody else's
            lock. ``"job"``: a new snapshot. ``"adopted"``: a job created by a call whose answer was lost counts as the
            release's own. ``"approved"``, ``"held"``, ``"rejected"``: the diff. ``"rollout"``: new counts.
            ``"finished"``: the release has ended.
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
