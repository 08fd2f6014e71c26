"""Jobs as the API shows them: inert, frozen values.

What a job is called on the wire, and in which shape, is known to the codec alone.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Self

from attrs import Factory, field, frozen

from clanforge_async.errors import LONGEST_MESSAGE, ClanforgeError
from clanforge_async.refs import JobKind, JobRef


class JobState(enum.IntEnum):
    """Where a job is in its life.

    1 to 6 are documented on the image version status page, 7 on a neighbouring one.
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
        """Whether a job in this state never leaves it by itself."""
        return self >= JobState.COMPLETED


def _state_number(job: Job) -> int | None:
    return None if job.state is None else job.state.value


def _state_title(job: Job) -> str:
    return "Unknown" if job.state is None else job.state.name.title()


@frozen(kw_only=True)
class Job:
    """A job at one moment; base of `ImageDiffJob` and `ImageVersionJob`.

    Attributes:
        kind: What the job works on.
        id: The image diff's or image version's id.
        state: The state, None where the server names one that this release does not know.
        state_id: The state's number as the server gave it, None where it gave none.
        state_name: The state's name as the server gave it.
        created_at: When the job was created. This and the following times are the server's, aware and in UTC.
        updated_at: When the server last updated the job.
        started_at: When the job was started, None before that.
        eta: When the server expects the job to complete: an estimate that moves and may pass.
        progress: Percentage from 0 to 100; not linear in time.
        failure_count: How often the job has failed. Above 0 on a running job is no end of it.
        error: The job's error message, if there is one.
        newer_than: What `ref` carries; set on what a retry returned. Says nothing of the job itself, so it
            takes no part in comparison.
    """

    kind: ClassVar[JobKind]

    id: int
    state: JobState | None
    state_id: int | None = field(default=Factory(_state_number, takes_self=True))
    state_name: str = field(default=Factory(_state_title, takes_self=True))
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None = None
    eta: datetime | None = None
    progress: int = 0
    failure_count: int = 0
    error: str | None = None
    newer_than: datetime | None = field(default=None, eq=False, repr=False)

    @property
    def is_terminal(self) -> bool:
        """Whether the job has completed, has failed or was squashed. False in a state that is not known."""
        return self.state is not None and self.state.is_terminal

    @property
    def is_completed(self) -> bool:
        """Whether the job has ended with success."""
        return self.state is JobState.COMPLETED

    @property
    def is_failed(self) -> bool:
        """Whether the job has ended as failed. A squashed job has not, since a newer one replaced it."""
        return self.state is JobState.FAILED

    @property
    def ref(self) -> JobRef:
        """The reference with which to watch this job on from here."""
        return JobRef(self.kind, self.id, self.newer_than)

    def raise_for_failure(self) -> Self:
        """Return the job itself unless it ended without success.

        Raises:
            JobFailedError: It has failed.
            JobSquashedError: A newer job replaced it.
        """
        if (error := failure_of(self)) is not None:
            raise error
        return self


class JobFailedError(ClanforgeError):
    """A job ended without success.

    Attributes:
        job: The job's last snapshot.
    """

    _verb = "failed"

    def __init__(self, job: Job) -> None:
        reason = f": {job.error[:LONGEST_MESSAGE]}" if job.error else ""
        super().__init__(f"{job.kind}/{job.id} {self._verb}{reason}")
        self.job = job


class JobSquashedError(JobFailedError):
    """A newer job replaced this one before it could complete."""

    _verb = "was squashed by a newer job"


def failure_of(job: Job) -> JobFailedError | None:
    """Return the error of a job that ended without success; None for any other job."""
    if job.state is JobState.SQUASHED:
        return JobSquashedError(job)
    return JobFailedError(job) if job.state is JobState.FAILED else None


def _count_files(files: Mapping[str, Any]) -> str:
    return f"<{len(files)} files>"


def _files() -> Any:
    # Listings can hold every file of an image: too long for a repr, and their values need not be hashable.
    return field(factory=dict[str, Any], repr=_count_files, hash=False)


@frozen(kw_only=True)
class ImageDiffDetails:
    """What an image diff compares, as the server describes it.

    Attributes:
        game: The game.
        machine: The build machine.
        image: The image.
    """

    game: Mapping[str, Any] | None = field(default=None, hash=False)
    machine: Mapping[str, Any] | None = field(default=None, hash=False)
    image: Mapping[str, Any] | None = field(default=None, hash=False)


@frozen(kw_only=True)
class ImageDiffJob(Job):
    """An image difference analysis at one moment.

    Attributes:
        added: Files that the build machine has and the image has not, by path; empty where the server lists none.
        modified: Files that differ, by path.
        removed: Files that the image has and the build machine has not, by path.
        details: Game, machine and image, where they were asked for.
    """

    kind: ClassVar[JobKind] = JobKind.IMAGE_DIFF

    added: Mapping[str, Any] = _files()
    modified: Mapping[str, Any] = _files()
    removed: Mapping[str, Any] = _files()
    details: ImageDiffDetails | None = None

    @property
    def diff_id(self) -> int:
        """The image diff's id."""
        return self.id


@frozen(kw_only=True)
class ImageVersionJob(Job):
    """The packaging of an image version at one moment.

    Attributes:
        success: Whether *the request* for this status succeeded; says nothing about the job.
    """

    kind: ClassVar[JobKind] = JobKind.IMAGE_VERSION

    success: bool = True

    @property
    def image_version_id(self) -> int:
        """The image version's id."""
        return self.id


@frozen
class Reading:
    """One answer of the server about a job.

    Attributes:
        job: The job as the answer shows it.
        server_time: When the server says that it answered (its ``Date``), None where it does not say.
    """

    job: Job
    server_time: datetime | None = None
