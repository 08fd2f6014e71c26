"""Plain lines for pipes and logs, and ``--quiet``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Self

from clanforge_async import Job, JobFailedError, JobRef, WatchResult
from clanforge_async.cli.errors import outcome
from clanforge_async.cli.formatting import (
    Styler,
    escape,
    escape_and_truncate,
    format_counts,
    format_datetime,
    format_duration,
    format_job_count,
    print_err,
    print_line,
    stdout_styler,
)

_MAX_STATE_LENGTH = 20
"""Longest name of an unknown state to show, in characters."""


class PlainOutput:
    """Prints each change as a line and, after several jobs, a summary.

    Args:
        refs: Jobs that will be watched, if any.
    """

    def __init__(self, refs: Sequence[JobRef] = ()) -> None:
        self._styler = stdout_styler()
        self._summary = _Summary(refs)

    def __enter__(self) -> Self:
        self._summary.start()
        return self

    def __exit__(self, *_: object) -> None:
        if (summary := self._summary.format()) is not None:
            print_line(summary)

    def snapshot(self, event: str, ref: JobRef, job: Job) -> None:
        """Print a snapshot, unless it is the last of a watch: the result follows at once."""
        if event != "update" or not job.is_terminal:
            print_line(f"{ref}  {format_job(job, self._styler)}")

    def result(self, result: WatchResult) -> None:
        """Print the result of a watch."""
        self._summary.add(result)
        print_line(format_result(result, self._styler))


class QuietOutput:
    """Prints the failures of several watches to stderr. The failure of a single one is left to the command's error.

    Args:
        refs: Jobs that will be watched, if any.
    """

    def __init__(self, refs: Sequence[JobRef] = ()) -> None:
        self._prints_failures = len(refs) > 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: each line is printed at once."""

    def snapshot(self, event: str, ref: JobRef, job: Job) -> None:
        """Print nothing."""

    def result(self, result: WatchResult) -> None:
        """Print the result if the job has not completed."""
        if self._prints_failures and result.error is not None:
            print_err(format_result(result))


class _Summary:
    def __init__(self, refs: Sequence[JobRef]) -> None:
        self._count = len(refs)
        self._outcomes: list[str] = []
        self._polls = 0
        self._start = 0.0

    def start(self) -> None:
        self._start = time.monotonic()

    def add(self, result: WatchResult) -> None:
        self._outcomes.append(outcome(result.error))
        self._polls += result.polls

    def format(self) -> str | None:
        """Return the summary; None for a single job, whose own line is enough."""
        if self._count <= 1:
            return None
        unfinished = ["unfinished"] * (self._count - len(self._outcomes))
        counts = format_counts([*self._outcomes, *unfinished])
        elapsed = format_duration(time.monotonic() - self._start)
        return f"{format_job_count(self._count)}: {counts}; {elapsed}, {self._polls} polls"


def format_job(job: Job, styler: Styler = str) -> str:
    """Return a job's state, progress, estimate and error as one line."""
    eta = "" if job.eta is None or job.is_terminal else f"  eta {format_datetime(job.eta)}"
    error = "" if job.error is None else f": {escape_and_truncate(job.error)}"
    return f"{styler(format_state(job))}  {job.progress} %{eta}  updated {format_datetime(job.updated_at)}{error}"


def format_state(job: Job) -> str:
    """Return the name of a job's state; the server's name if this release does not know the state."""
    return escape(job.state_name[:_MAX_STATE_LENGTH]) if job.state is None else job.state.name.title()


def format_result(result: WatchResult, styler: Styler = str) -> str:
    """Return the result of a watch as one line."""
    reason = result.error.job.error if isinstance(result.error, JobFailedError) else result.error
    suffix = f": {escape_and_truncate(str(reason))}" if reason else ""
    return f"{result.ref}  {styler(outcome(result.error))}  {format_effort(result)}{suffix}"


def format_effort(result: WatchResult) -> str:
    """Return the time and the polls that a watch took."""
    return f"{result.elapsed:.1f} s, {result.polls} poll{'' if result.polls == 1 else 's'}"
