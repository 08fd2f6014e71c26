"""How a watch ended."""

from __future__ import annotations

import enum

from attrs import frozen

from clanforge_async.errors import LONGEST_MESSAGE, ClanforgeError
from clanforge_async.jobs import Job, JobFailedError, JobSquashedError
from clanforge_async.refs import JobRef


class _UnfinishedWatchError(ClanforgeError):
    """A watch that ended before its job did.

    Attributes:
        ref: What was watched.
        last_job: The last snapshot seen, if any.
    """

    _reason: str

    def __init__(self, ref: JobRef, last_job: Job | None = None) -> None:
        seen = "never seen"
        if last_job is not None:
            seen = f"last seen {last_job.state_name[:LONGEST_MESSAGE]} at {last_job.progress} %"
        super().__init__(f"{self._reason}: {ref} ({seen})")
        self.ref = ref
        self.last_job = last_job


class StaleJobError(_UnfinishedWatchError):
    """The server kept showing the run before the one that is watched.

    Attributes:
        ref: What was watched; its ``newer_than`` is the moment before which no status is news.
        last_job: The last snapshot seen, if any.
    """

    _reason = "no status of the awaited run"


class WatchClosedError(_UnfinishedWatchError):
    """The watcher was closed while somebody still waited.

    Attributes:
        ref: What was watched.
        last_job: The last snapshot seen, if any.
    """

    _reason = "the watcher was closed"


class WatchTimeoutError(_UnfinishedWatchError, TimeoutError):
    """The watch's ``timeout`` passed before the job ended.

    Attributes:
        ref: What was watched.
        last_job: The last snapshot seen, if any.
    """

    _reason = "timed out"


@frozen(kw_only=True)
class WatchResult:
    """How a watch ended.

    Attributes:
        ref: What was watched.
        job: The last snapshot seen, None where there was none.
        error: What `JobWatcher.wait` would have raised, None where the job has completed.
        polls: How many polls the watch took part in.
        elapsed: Seconds from the watch's beginning to its end.
    """

    ref: JobRef
    job: Job | None
    error: Exception | None
    polls: int
    elapsed: float

    @property
    def ok(self) -> bool:
        """Whether the job has completed."""
        return self.error is None

    def unwrap(self) -> Job:
        """Return the completed job.

        Raises:
            Exception: The job has not completed; ``error`` says why.
        """
        if self.error is not None:
            raise self.error.with_traceback(None)  # else it would grow with every waiter that it is raised to
        if self.job is None:
            msg = f"{self.ref} has no job"
            raise ClanforgeError(msg)
        return self.job


class Outcome(enum.StrEnum):
    """How a watch ended, in a word."""

    COMPLETED = "completed"
    FAILED = "failed"
    SQUASHED = "squashed"
    TIMEOUT = "timeout"
    ERROR = "error"
    CANCELLED = "cancelled"

    @property
    def is_of_the_job(self) -> bool:
        """Whether the job had ended too."""
        return self in (Outcome.COMPLETED, Outcome.FAILED, Outcome.SQUASHED)


_BY_ERROR: tuple[tuple[type[Exception], Outcome], ...] = (
    (JobSquashedError, Outcome.SQUASHED),
    (JobFailedError, Outcome.FAILED),
    (WatchTimeoutError, Outcome.TIMEOUT),
    (Exception, Outcome.ERROR),
)


def outcome_of(error: Exception | None) -> Outcome:
    """Return how a watch ended that ended with this error, or without one."""
    if error is None:
        return Outcome.COMPLETED
    return next(outcome for cls, outcome in _BY_ERROR if isinstance(error, cls))
