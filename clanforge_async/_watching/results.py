"""Results of watches, and the errors of watches that end before their jobs."""

from __future__ import annotations

import copy
import enum
from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import frozen

from clanforge_async._watching.serialization import (
    error_from_plain,
    error_to_plain,
    job_from_plain,
    job_to_plain,
    number_or,
)
from clanforge_async.errors import LONGEST_MESSAGE, ClanforgeError
from clanforge_async.jobs import Job, JobFailedError, JobSquashedError
from clanforge_async.refs import JobRef

E = TypeVar("E", bound=BaseException)


def copy_error(error: E) -> E:
    """Return a copy of an error with its attributes, notes and cause, but without its traceback."""
    try:
        copied = copy.copy(error)
    except Exception:  # noqa: BLE001 - copying calls the constructor, which may need other arguments
        copied = type(error).__new__(type(error))
        copied.__dict__.update(error.__dict__)
    copied.args = error.args
    if notes := getattr(error, "__notes__", ()):
        copied.__notes__ = [*notes]
    if error.__cause__ is not None:
        copied.__cause__ = copy_error(error.__cause__)
    return copied.with_traceback(None)


class _UnfinishedWatchError(ClanforgeError):
    """A watch ended before its job did.

    Attributes:
        ref: The reference of the watched job.
        last_job: The last snapshot seen, if any.
        last_error: The last poll's failure, chained as the cause; None if the last poll did not fail.
    """

    _reason: str

    def __init__(self, ref: JobRef, last_job: Job | None = None, last_error: ClanforgeError | None = None) -> None:
        seen = "no status received"
        if last_job is not None:
            seen = f"last seen {last_job.state_name[:LONGEST_MESSAGE]} at {last_job.progress} %"
        failure = "" if last_error is None else f"; last poll: {str(last_error)[:LONGEST_MESSAGE]}"
        super().__init__(f"{self._reason}: {ref} ({seen}){failure}")
        self.ref = ref
        self.last_job = last_job
        self.last_error = last_error
        if last_error is not None:
            self.__cause__: BaseException | None = last_error


class StaleJobError(_UnfinishedWatchError):
    """The server kept showing an earlier run of the job for ``stale_after`` seconds.

    Attributes:
        ref: The reference of the watched job. A status updated before its ``newer_than`` belongs to an earlier run.
        last_job: The last snapshot seen, if any.
        last_error: The last poll's failure, chained as the cause; None if the last poll did not fail.
    """

    _reason = "the server still shows the previous run"


class WatchClosedError(_UnfinishedWatchError):
    """The watcher was closed before the watch ended.

    Attributes:
        ref: The reference of the watched job.
        last_job: The last snapshot seen, if any.
        last_error: The last poll's failure, chained as the cause; None if the last poll did not fail.
    """

    _reason = "the watcher was closed"


class WatchTimeoutError(_UnfinishedWatchError, TimeoutError):
    """The watch's ``timeout`` expired before the job ended.

    Attributes:
        ref: The reference of the watched job.
        last_job: The last snapshot seen, if any.
        last_error: The last poll's failure, chained as the cause; None if the last poll did not fail.
    """

    _reason = "timed out"


@frozen(kw_only=True)
class WatchResult:
    """The result of a watch.

    Attributes:
        ref: The reference of the watched job.
        job: The last snapshot seen; None if there was none.
        error: The error that `JobWatcher.wait` would have raised; None if the job completed.
        polls: Number of polls that the watch took part in.
        elapsed: Seconds from the watch's start to its end.
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

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data that JSON can hold, with its error; texts are clipped at 2 KiB."""
        return {
            "ref": str(self.ref),
            "job": None if self.job is None else job_to_plain(self.job),
            "error": None if self.error is None else error_to_plain(self.error),
            "polls": self.polls,
            "elapsed": self.elapsed,
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Read the result of `to_dict`. An unknown class of error becomes a `ClanforgeError`.

        Raises:
            KeyError, TypeError, ValueError, InvalidResponseError: It is something else.
        """
        job, error = plain.get("job"), plain.get("error")
        return cls(
            ref=JobRef.parse(plain["ref"]),
            job=None if job is None else job_from_plain(job),
            error=None if error is None else error_from_plain(error),
            polls=number_or(plain, "polls", 0),
            elapsed=number_or(plain, "elapsed", 0.0),
        )

    def unwrap(self) -> Job:
        """Return the completed job.

        Raises:
            Exception: The job did not complete; the exception is ``error``.
        """
        if self.error is not None:
            raise self.error.with_traceback(None)  # else the traceback would grow with each raise
        if self.job is None:
            msg = f"{self.ref} has no job"
            raise ClanforgeError(msg)
        return self.job


class Outcome(enum.StrEnum):
    """The outcome of a watch, as named in logs, telemetry and the command line."""

    COMPLETED = "completed"
    FAILED = "failed"
    SQUASHED = "squashed"
    TIMEOUT = "timeout"
    ERROR = "error"
    CANCELLED = "cancelled"
    CLOSED = "closed"

    @property
    def job_ended(self) -> bool:
        """Whether the job itself has ended."""
        return self in (Outcome.COMPLETED, Outcome.FAILED, Outcome.SQUASHED)


_BY_ERROR: tuple[tuple[type[Exception], Outcome], ...] = (
    (JobSquashedError, Outcome.SQUASHED),
    (JobFailedError, Outcome.FAILED),
    (WatchTimeoutError, Outcome.TIMEOUT),
    (WatchClosedError, Outcome.CLOSED),
    (Exception, Outcome.ERROR),
)


def outcome_of(error: Exception | None) -> Outcome:
    """Return the outcome of a watch that ended with an error; None: without an error."""
    if error is None:
        return Outcome.COMPLETED
    return next(outcome for cls, outcome in _BY_ERROR if isinstance(error, cls))
