"""How a watch ended."""

from __future__ import annotations

import enum

from attrs import frozen

from clanforge_async.errors import ClanforgeError, JobFailedError, JobSquashedError, WatchTimeoutError
from clanforge_async.jobs import Job, JobRef


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
