"""The logger, and the fields of its records.

Each record carries its values as attributes whose names begin with ``clanforge_``. Every record has
``clanforge_event``, followed here by the event's other fields. A record lacks a field that has no value:

- ``request`` (DEBUG): path, status_code, size (bytes of the body), error_type. Logged once for each attempt.
- ``call_repeated`` (INFO): path, attempt (the one that failed), wait (until the next), error_type, status_code.
- ``cooling_down`` (WARNING; DEBUG if it only extends a cooldown): wait, error_type, status_code. Pauses the whole
  client.
- ``watch_begun`` (DEBUG): ref, kind, id.
- ``state_changed`` (INFO; WARNING for an unknown state): ref, kind, id, state, state_id, previous_state,
  progress. Logged once for all watches of a job.
- ``poll_failed`` (INFO; DEBUG for each consecutive failure): ref, kind, id, failures (consecutive), error_type,
  status_code.
- ``polls_recovered`` (INFO): ref, kind, id, failures, elapsed (since the first of them).
- ``watch_ended`` (INFO): ref, kind, id, outcome, polls, elapsed, state, state_id, progress, error_type, status_code.
- ``history_set_aside`` (WARNING): path, aside (its new name).
- ``history_failed`` (WARNING): ref, kind, id, error_type. A run is missing from the history, or a forecast from it.
- ``listener_failed`` (ERROR, with the exception): ref, kind, id; for a release, image.

WARNING is for problems that no result or error reports to a caller. Times are in seconds. Text from the server is only
in messages, escaped and truncated.

If a filter, handler or formatter raises, calls and watches continue: the error goes to the event loop's exception
handler.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from clanforge_async.errors import LONGEST_MESSAGE, APIError, ClanforgeError
from clanforge_async.jobs import Job, JobState
from clanforge_async.refs import JobRef

logger = logging.getLogger("clanforge_async")

Field = str | int | float | None


def log_event(
    level: int,
    event: str,
    message: str,
    *,
    ref: JobRef | None = None,
    job: Job | None = None,
    error: BaseException | None = None,
    said: str | None = None,
    exc_info: bool = False,
    **fields: Field,
) -> None:
    """Log an event. If the logger raises, report its error to the event loop's exception handler.

    Args:
        level: The record's level.
        event: The event's name.
        message: The message, with fields as ``%(name)s`` and the server's text as ``%(said)s``.
        ref: Adds the fields of a reference.
        job: Adds the fields of a snapshot.
        error: Adds the fields of an error. If this package raised it, its message is the server's text; of any other
            exception, which may quote anything, only the class is logged.
        said: The server's text, if there is no error.
        exc_info: Whether to add the exception being handled.
        **fields: Further fields.
    """
    try:
        if logger.isEnabledFor(level):
            fields |= _of_ref(ref) | _of_job(job) | _of_error(error)
            extra = {f"clanforge_{name}": value for name, value in fields.items() if value is not None}
            extra["clanforge_event"] = event
            values = fields | {"said": _server_text(error, said)}
            logger.log(level, message, values, exc_info=exc_info, extra=extra, stacklevel=2)
    except (Exception, asyncio.CancelledError) as failure:  # noqa: BLE001 - filters and handlers can raise anything
        report_observer_failure(f"logging the event {event} failed", failure)


def report_observer_failure(message: str, error: BaseException) -> None:
    """Report an observer's error to the event loop's exception handler. Never raises or logs to our own logger."""
    # Without a running loop there is no handler, and a handler can raise too.
    with contextlib.suppress(Exception):
        asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})


def _server_text(error: BaseException | None, said: str | None) -> str:
    if error is not None and not isinstance(error, ClanforgeError):
        return type(error).__name__
    return repr(said if error is None else error)[:LONGEST_MESSAGE]


def state_label(state: JobState | None) -> str:
    """Return a state's name as a field's value."""
    return "unknown" if state is None else state.name.lower()


def _of_ref(ref: JobRef | None) -> dict[str, Field]:
    return {} if ref is None else {"ref": str(ref), "kind": ref.kind.value, "id": ref.id}


def _of_job(job: Job | None) -> dict[str, Field]:
    return {} if job is None else {"state": state_label(job.state), "state_id": job.state_id, "progress": job.progress}


def _of_error(error: BaseException | None) -> dict[str, Field]:
    status_code = error.status_code if isinstance(error, APIError) else None
    return {} if error is None else {"error_type": type(error).__name__, "status_code": status_code}
