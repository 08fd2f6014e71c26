"""Jobs as frozen values, and the errors of failed jobs. `_codec` knows their JSON form."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Self

from attrs import Factory, field, frozen

from clanforge_async.errors import LONGEST_MESSAGE, ClanforgeError
from clanforge_async.refs import JobKind, JobRef


class JobState(enum.IntEnum):
    """State of a job.

    1 to 6 are documented on the image version status page, 7 on a neighbouring page.
    """

    CREATED = 1
    PENDING = 2
    QUEUED = 3
    RUNNING = 4
    COMPLETED = 5
    FAILED = 6
    SQUASHED = 7

    @property
    def is_terminal(self) -> bool:
        """Whether a job in this state has ended. True for Completed, Failed and Squashed."""
        return self >= JobState.COMPLETED


def _default_state_id(job: JobStatus) -> int | None:
    return None if job.state is None else job.state.value


def _default_state_name(job: JobStatus) -> str:
    return "Unknown" if job.state is None else job.state.name.title()


class HasState:
    """Properties that follow from the state of a job."""

    __slots__ = ()

    state: JobState | None

    @property
    def is_terminal(self) -> bool:
        """Whether the job has completed, failed or was squashed. False in an unknown state."""
        return self.state is not None and self.state.is_terminal

    @property
    def is_completed(self) -> bool:
        """Whether the job has completed."""
        return self.state is JobState.COMPLETED

    @property
    def is_failed(self) -> bool:
        """Whether the job has failed. False for a squashed job, which a newer one replaced."""
        return self.state is JobState.FAILED


@frozen(kw_only=True)
class JobStatus(HasState):
    """The fields that all jobs of the API share ("Job fields"), including jobs that no call reads by id.

    Attributes:
        id: Id of the job.
        state: The state; None if this release does not know it.
        state_id: Number of the state as the server sent it; None if it sent none.
        state_name: Name of the state as the server sent it.
        created_at: Time of creation. All times are the server's, aware and in UTC.
        updated_at: Time of the server's last update.
        started_at: Start time; None before that.
        eta: Time at which the server expects the job to complete: an estimate that changes and can pass.
        progress: Percentage from 0 to 100; not linear in time.
        failure_count: Number of failures so far. A running job with failures has not ended.
        error: The job's error message, if any.
    """

    id: int
    state: JobState | None
    state_id: int | None = field(default=Factory(_default_state_id, takes_self=True))
    state_name: str = field(default=Factory(_default_state_name, takes_self=True))
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None = None
    eta: datetime | None = None
    progress: int = 0
    failure_count: int = 0
    error: str | None = None


@frozen(kw_only=True)
class Job(JobStatus):
    """Snapshot of a job that can be watched: `ImageUpdateJob`, `ImageDiffJob` or `ImageVersionJob`.

    Attributes:
        kind: Kind of the job.
        newer_than: Passed on to `ref`; set on jobs that a retry returned. Not part of the job itself, so comparison
            ignores it.
    """

    kind: ClassVar[JobKind]

    newer_than: datetime | None = field(default=None, eq=False, repr=False)

    @property
    def ref(self) -> JobRef:
        """Reference to this job, to watch or resume it."""
        return JobRef(self.kind, self.id, self.newer_than)

    def raise_for_failure(self) -> Self:
        """Return the job itself unless it failed or was squashed.

        Raises:
            JobFailedError: The job failed.
            JobSquashedError: A newer job replaced it.
        """
        error = job_failure(self)
        if error is not None:
            raise error
        return self


class JobFailedError(ClanforgeError):
    """The job failed, or was squashed.

    Attributes:
        job: Last snapshot of the job.
    """

    _verb = "failed"

    def __init__(self, job: Job) -> None:
        reason = f": {job.error[:LONGEST_MESSAGE]}" if job.error else ""
        super().__init__(f"{job.kind}/{job.id} {self._verb}{reason}")
        self.job = job


class JobSquashedError(JobFailedError):
    """A newer job replaced this one before it completed."""

    _verb = "was squashed by a newer job"


def job_failure(job: Job) -> JobFailedError | None:
    """Return the error of a failed or squashed job, None for any other."""
    match job.state:
        case JobState.FAILED:
            return JobFailedError(job)
        case JobState.SQUASHED:
            return JobSquashedError(job)
        case _:
            return None


@frozen(kw_only=True)
class ImageUpdateJob(Job):
    """Snapshot of an image update: a build machine pulls a build from its source.

    Attributes:
        success: Whether *the request* for this status succeeded; independent of the job's outcome.
    """

    kind: ClassVar[JobKind] = JobKind.IMAGE_UPDATE

    success: bool = True

    @property
    def update_id(self) -> int:
        """Id of the image update."""
        return self.id


def _count_files(files: Mapping[str, Any]) -> str:
    return f"<{len(files)} files>"


def _files_field() -> Any:
    # A listing can contain every file of an image, too many for a repr. Its values may be unhashable.
    return field(factory=dict[str, Any], repr=_count_files, hash=False)


def _hide_details(details: Mapping[str, Any] | None) -> str:
    # The fields of an image can contain the credentials of its source.
    return "None" if details is None else "***"


@frozen(kw_only=True)
class ImageDiffDetails:
    """Details of an image diff, as the server sent them. Secrets in source URLs are replaced by ``***``.

    Attributes:
        game: The game.
        machine: The build machine.
        image: The image.
    """

    game: Mapping[str, Any] | None = field(default=None, hash=False, repr=_hide_details)
    machine: Mapping[str, Any] | None = field(default=None, hash=False, repr=_hide_details)
    image: Mapping[str, Any] | None = field(default=None, hash=False, repr=_hide_details)


def _lists_any_file(diff: ImageDiffJob) -> bool:
    return bool(diff.added or diff.modified or diff.removed)


@frozen(kw_only=True)
class ImageDiffJob(Job):
    """Snapshot of an image difference analysis.

    Attributes:
        added: Files on the build machine that the image lacks, by path; empty if the server lists none.
        modified: Files that differ, by path.
        removed: Files of the image that the build machine lacks, by path.
        has_listing: Whether the server sent any of the three, empty or not.
        details: Game, machine and image, if requested.
    """

    kind: ClassVar[JobKind] = JobKind.IMAGE_DIFF

    added: Mapping[str, Any] = _files_field()
    modified: Mapping[str, Any] = _files_field()
    removed: Mapping[str, Any] = _files_field()
    has_listing: bool = field(default=Factory(_lists_any_file, takes_self=True), repr=False)
    details: ImageDiffDetails | None = None

    @property
    def diff_id(self) -> int:
        """Id of the image diff."""
        return self.id

    @property
    def is_empty(self) -> bool | None:
        """Whether no file differs; None if the job has not completed or the server sent no listing."""
        return not _lists_any_file(self) if self.is_completed and self.has_listing else None


@frozen(kw_only=True)
class ImageVersionJob(Job):
    """Snapshot of the packaging of an image version.

    Attributes:
        success: Whether *the request* for this status succeeded; independent of the job's outcome.
    """

    kind: ClassVar[JobKind] = JobKind.IMAGE_VERSION

    success: bool = True

    @property
    def image_version_id(self) -> int:
        """Id of the image version."""
        return self.id
