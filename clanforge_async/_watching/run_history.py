"""Reads a watcher's job history when a watch starts and adds runs that end. Its failures never end a watch."""

from __future__ import annotations

import asyncio
import logging

from clanforge_async._logging import log_event
from clanforge_async._polling.distributions import ExpectedDuration
from clanforge_async._polling.history import JobHistory
from clanforge_async._watching.results import WatchResult
from clanforge_async.jobs import JobFailedError
from clanforge_async.refs import JobRef


def expected_duration(history: JobHistory | None, label: str | None, ref: JobRef) -> ExpectedDuration | None:
    """Return the expected duration of a label's runs; None if the history has none or cannot be read."""
    if history is None or label is None:
        return None
    try:
        return history.expected_duration(label)
    except OSError as error:
        _log_failure(ref, error)
        return None


def record_run(history: JobHistory, label: str, future: asyncio.Future[WatchResult]) -> None:
    """Add the run of a watch's job to the history, if the job has ended."""
    if future.cancelled():
        return
    result = future.result()
    if result.job is None or not result.polls or not (result.ok or isinstance(result.error, JobFailedError)):
        return
    try:
        history.add_job(label, result.job)
    except OSError as error:
        _log_failure(result.ref, error)


def _log_failure(ref: JobRef, error: OSError) -> None:
    log_event(
        logging.WARNING,
        "history_failed",
        "%(ref)s: the job history can't be used: %(error_type)s",
        ref=ref,
        error=error,
    )
