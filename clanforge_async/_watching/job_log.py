"""What the log says of a job that is watched."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from datetime import datetime
from types import EllipsisType

from clanforge_async._logging import log_event, state_word
from clanforge_async._watching.results import Outcome, WatchResult
from clanforge_async.errors import LONGEST_MESSAGE
from clanforge_async.jobs import Job, JobState
from clanforge_async.refs import JobRef


class JobLog:
    """Logs what becomes of a job that is watched: once, however many watches it has, but for how each of them ends."""

    __slots__ = ("_failing_since", "_failures", "_ref", "_state")

    def __init__(self, ref: JobRef) -> None:
        self._ref = ref
        self._state: JobState | EllipsisType | None = ...
        self._failures = 0
        self._failing_since = 0.0

    def begun(self, _watch: Hashable, ref: JobRef) -> None:
        """Log it, with the reference from which the watch can be resumed."""
        log_event(logging.DEBUG, "watch_begun", "watching %(ref)s", ref=ref)

    def polled(self, seen: Job | Exception, at: float, _server_time: datetime) -> None:
        """Log where failures begin, how they go on, and where they end."""
        if isinstance(seen, Exception):
            self._failing_since = self._failing_since if self._failures else at
            self._failures += 1
            level = logging.INFO if self._failures == 1 else logging.DEBUG
            message = "%(ref)s: poll failed: %(said)s"
            log_event(level, "poll_failed", message, ref=self._ref, error=seen, failures=self._failures)
        elif self._failures:
            message = "%(ref)s: answered again after %(elapsed).1f s, failed polls: %(failures)d"
            lasted, failures = at - self._failing_since, self._failures
            self._failures = 0
            log_event(logging.INFO, "polls_recovered", message, ref=self._ref, failures=failures, elapsed=lasted)

    def changed(self, _watch: Hashable, job: Job) -> None:
        """Log a new state, unless another of the watches has brought it already."""
        if job.state is self._state:
            return
        if job.state is None:
            level, message = logging.WARNING, "%(ref)s is in a state that is not known: %(state_id)s (%(said)s)"
        else:
            level, message = logging.INFO, "%(ref)s: %(state)s, %(progress)d %%"
        previous = None if self._state is ... else state_word(self._state)
        self._state = job.state
        said = job.state_name[:LONGEST_MESSAGE]
        log_event(level, "state_changed", message, ref=self._ref, job=job, said=said, previous_state=previous)

    def ended(self, _watch: Hashable, result: WatchResult, outcome: Outcome) -> None:
        """Log how a watch has ended."""
        message = "%(ref)s: watch ended as %(outcome)s after %(elapsed).1f s, polls: %(polls)d"
        log_event(
            logging.INFO,
            "watch_ended",
            message if result.error is None else f"{message}: %(said)s",
            ref=result.ref,
            job=result.job,
            error=result.error,
            outcome=outcome.value,
            polls=result.polls,
            elapsed=result.elapsed,
        )
