"""Logs the states, outages and watches of a job."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable
from datetime import datetime
from types import EllipsisType

from clanforge_async._logging import log_event, state_label
from clanforge_async._watching.results import Outcome, WatchResult
from clanforge_async.errors import LONGEST_MESSAGE
from clanforge_async.jobs import Job, JobState
from clanforge_async.refs import JobRef


class JobLog:
    """Logs a watched job: states and outages once for all its watches, and the start and end of each watch."""

    __slots__ = ("_failing_since", "_failures", "_ref", "_state")

    def __init__(self, ref: JobRef) -> None:
        self._ref = ref
        self._state: JobState | EllipsisType | None = ...
        self._failures = 0
        self._failing_since = 0.0

    def started(self, _watch: Hashable, ref: JobRef) -> None:
        """Log the watch's start, with the reference that resumes it."""
        log_event(logging.DEBUG, "watch_begun", "watching %(ref)s", ref=ref)

    def polled(self, _watches: Iterable[Hashable], seen: Job | Exception, at: float, _server_time: datetime) -> None:
        """Log a failed poll, and the first successful poll after it."""
        if isinstance(seen, Exception):
            self._failing_since = self._failing_since if self._failures else at
            self._failures += 1
            level = logging.INFO if self._failures == 1 else logging.DEBUG
            message = "%(ref)s: poll failed: %(said)s"
            log_event(level, "poll_failed", message, ref=self._ref, error=seen, failures=self._failures)
        elif self._failures:
            message = "%(ref)s: recovered after %(elapsed).1f s (failed polls: %(failures)d)"
            lasted, failures = at - self._failing_since, self._failures
            self._failures = 0
            log_event(logging.INFO, "polls_recovered", message, ref=self._ref, failures=failures, elapsed=lasted)

    def changed(self, _watch: Hashable, job: Job) -> None:
        """Log a new state, unless another watch of the job has already logged it."""
        if job.state is self._state:
            return
        if job.state is None:
            level, message = logging.WARNING, "%(ref)s: unknown state %(state_id)s (%(said)s)"
        else:
            level, message = logging.INFO, "%(ref)s: %(state)s, %(progress)d %%"
        previous = None if self._state is ... else state_label(self._state)
        self._state = job.state
        said = job.state_name[:LONGEST_MESSAGE]
        log_event(level, "state_changed", message, ref=self._ref, job=job, said=said, previous_state=previous)

    def ended(self, _watch: Hashable, result: WatchResult, outcome: Outcome) -> None:
        """Log the watch's end."""
        message = "%(ref)s: %(outcome)s after %(elapsed).1f s (polls: %(polls)d)"
        error = None if outcome is Outcome.CLOSED else result.error
        log_event(
            logging.INFO,
            "watch_ended",
            message if error is None else f"{message}: %(said)s",
            ref=result.ref,
            job=result.job,
            error=error,
            outcome=outcome.value,
            polls=result.polls,
            elapsed=result.elapsed,
        )
