"""How a command ends if something goes wrong: exit status, outcome and the messages on stderr."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from clanforge_async import (
    AuthenticationError,
    BadRequestError,
    ClanforgeError,
    ConfigurationError,
    ImageLockedError,
    JobFailedError,
    JobRef,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RetryOutcomeUnknownError,
    TransportError,
    WatchResult,
    WatchTimeoutError,
)
from clanforge_async._watching.results import outcome_of
from clanforge_async.cli.formatting import escape_and_truncate, format_counts, format_job_count, print_err

T = TypeVar("T")

COMPLETED = 0
USAGE_ERROR = 2
INTERRUPTED = 130
"""Shells report a program ended by a signal as 128 and the signal's number: here SIGINT, below SIGPIPE and SIGTERM."""
BROKEN_PIPE = 141
TERMINATED = 143

_EXIT_STATUSES: dict[type[Exception], int] = {
    JobFailedError: 1,
    ConfigurationError: USAGE_ERROR,
    WatchTimeoutError: 3,
    AuthenticationError: 4,
    PermissionDeniedError: 4,
    Exception: 5,
}
_HINTS: dict[type[Exception], str] = {
    AuthenticationError: "check the keys or the token in the environment, and that they are meant for this host",
    ImageLockedError: "accept or reject image diff {error.diff_id} first",
    NotFoundError: "check the ID and the account service ID",
    PermissionDeniedError: "check that these credentials may use this account service ID",
    RateLimitError: "wait before trying again",
    RetryOutcomeUnknownError: "see `clanforge image-diff status {error.diff_id}` before asking again",
    TransportError: "check the network and the base URL",
    Exception: "",
}
_SETTING_HINTS = {
    "account_service_id": "pass --account-service-id or set CLANFORGE_ACCOUNT_SERVICE_ID",
    "base_url": "pass --base-url or set CLANFORGE_BASE_URL",
}
"""Option and environment variable for each argument of the client that a `ConfigurationError` names."""
_NOT_RESUMABLE = JobFailedError | BadRequestError | NotFoundError
"""Errors after which watching the same job again is pointless."""


def exit_status(error: Exception) -> int:
    """Return the exit status for an error."""
    return _find_by_class(_EXIT_STATUSES, error)


def highest_exit_status(results: Iterable[WatchResult]) -> int:
    """Return the exit status of several watches: the highest among them."""
    return max((exit_status(result.error) for result in results if result.error is not None), default=COMPLETED)


def outcome(error: Exception | None) -> str:
    """Return the outcome of a watch that ended with this error, or without one."""
    return outcome_of(error).value


def format_error(error: Exception) -> str:
    """Return an error as one line, with a hint on how to fix it."""
    cause = f" ({escape_and_truncate(str(error.__cause__))})" if isinstance(error.__cause__, ClanforgeError) else ""
    return "; ".join(filter(None, [f"error: {escape_and_truncate(str(error))}{cause}", _hint(error)]))


def print_errors(results: Sequence[WatchResult], unfinished: Sequence[JobRef] = ()) -> None:
    """Print a summary of failed watches, hints, and the command that resumes them; nothing if all jobs completed.

    Args:
        results: Results of the watches that ended.
        unfinished: Jobs that had not ended when watching stopped.
    """
    errors = [result.error for result in results if result.error is not None]
    if not errors:
        return
    outcomes = [*(outcome(result.error) for result in results), *("unfinished" for _ in unfinished)]
    if len(outcomes) == 1:
        print_err(format_error(errors[0]))
    else:
        summary = f"error: of {format_job_count(len(outcomes))} {format_counts(outcomes)}"
        print_err("; ".join(filter(None, [summary, *dict.fromkeys(map(_hint, errors))])))
    resumable = [result.ref for result in results if result.error and not isinstance(result.error, _NOT_RESUMABLE)]
    print_resume_command("unfinished", [*unfinished, *resumable])


def print_resume_command(reason: str, refs: Sequence[JobRef]) -> None:
    """Print the command that continues to watch these jobs, if there are any."""
    if refs:
        print_err(f"{reason}; to watch on: clanforge watch {' '.join(map(str, refs))}")


def _hint(error: Exception) -> str:
    if isinstance(error, ConfigurationError):
        return next((hint for name, hint in _SETTING_HINTS.items() if name in str(error)), "")
    return _find_by_class(_HINTS, error).format(error=error)


def _find_by_class(table: Mapping[type[Exception], T], error: Exception) -> T:
    """Return the entry for the nearest class of an error; the table must have one for `Exception`."""
    return next(table[cls] for cls in type(error).__mro__ if cls in table)
