"""The log: one logger, whose records carry what they tell as fields too.

Each field's name begins with ``clanforge_``. Every record has ``clanforge_event``, and of the others those that follow
it here, as far as there is something to say:

- ``request`` (DEBUG): path, status_code, size (bytes of the body), error_type. One for each attempt.
- ``call_repeated`` (INFO): path, attempt (the one that failed), wait (until the next), error_type, status_code.
- ``cooling_down`` (WARNING; DEBUG where it only prolongs): wait, error_type, status_code. It holds the whole client up.
- ``watch_begun`` (DEBUG): ref, kind, id.
- ``state_changed`` (INFO; WARNING for a state that is not known): ref, kind, id, state, state_id, previous_state,
  progress. One for all watches of a job.
- ``poll_failed`` (INFO; DEBUG from the second in a row on): ref, kind, id, failures (in a row), error_type,
  status_code.
- ``polls_recovered`` (INFO): ref, kind, id, failures, elapsed (since the first of them).
- ``watch_ended`` (INFO): ref, kind, id, outcome, polls, elapsed, state, state_id, progress, error_type, status_code.
- ``listener_failed`` (ERROR, with the exception): ref, kind, id.

WARNING is for what somebody should look into and nobody is told otherwise: how calls and watches end, their callers
hear. Times are in seconds. What a server says in words is in messages alone, escaped and cut short.
"""

from __future__ import annotations

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
    """Log an event.

    Args:
        level: The record's level.
        event: What the event is called.
        message: The message, with its fields as ``%(name)s`` and what a server has said as ``%(said)s``.
        ref: Brings the fields that say what is watched.
        job: Brings the fields of a snapshot.
        error: Brings its fields; its words are what was said, if it is of this package: others may quote anything.
        said: What was said otherwise.
        exc_info: Whether to add the exception that is being handled.
        **fields: Further fields.
    """
    if logger.isEnabledFor(level):
        fields |= _of_ref(ref) | _of_job(job) | _of_error(error)
        extra = {f"clanforge_{name}": value for name, value in fields.items() if value is not None}
        extra["clanforge_event"] = event
        logger.log(level, message, fields | {"said": _words(error, said)}, exc_info=exc_info, extra=extra, stacklevel=2)


def _words(error: BaseException | None, said: str | None) -> str:
    if error is not None and not isinstance(error, ClanforgeError):
        return type(error).__name__
    return repr(said if error is None else error)[:LONGEST_MESSAGE]


def state_word(state: JobState | None) -> str:
    """Return a state's name as fields show it."""
    return "unknown" if state is None else state.name.lower()


def _of_ref(ref: JobRef | None) -> dict[str, Field]:
    return {} if ref is None else {"ref": str(ref), "kind": ref.kind.value, "id": ref.id}


def _of_job(job: Job | None) -> dict[str, Field]:
    return {} if job is None else {"state": state_word(job.state), "state_id": job.state_id, "progress": job.progress}


def _of_error(error: BaseException | None) -> dict[str, Field]:
    status_code = error.status_code if isinstance(error, APIError) else None
    return {} if error is None else {"error_type": type(error).__name__, "status_code": status_code}
