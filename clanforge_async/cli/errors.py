"""Errors of a command: its exit status, the outcome and the messages on stderr."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from clanforge_async import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ClanforgeError,
    ConfigurationError,
    ImageLockedError,
    InvalidResponseError,
    JobFailedError,
    JobRef,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitError,
    ReleaseError,
    ReleaseRejectedError,
    ReleaseSupersededError,
    ReleaseTimeoutError,
    RetryOutcomeUnknownError,
    RolloutError,
    ServerError,
    StaleJobError,
    TransportError,
    WatchClosedError,
    WatchResult,
    WatchTimeoutError,
)
from clanforge_async._watching.results import outcome_of
from clanforge_async.cli.formatting import escape_and_truncate, format_job_count, print_err

T = TypeVar("T")

COMPLETED = 0
JOB_FAILED = 1
USAGE_ERROR = 2
TIMED_OUT = 3
ACCESS_DENIED = 4
TRY_AGAIN = 5
REFUSED = 6
OUTCOME_UNKNOWN = 7
SIGNALLED = 128
"""Added to a signal's number for the exit status, as shells do."""
INTERRUPTED = SIGNALLED + 2
BROKEN_PIPE = SIGNALLED + 13

_EXIT_STATUSES: dict[type[Exception], int] = {
    JobFailedError: JOB_FAILED,
    ConfigurationError: USAGE_ERROR,
    ReleaseRejectedError: JOB_FAILED,
    ReleaseSupersededError: JOB_FAILED,
    RolloutError: JOB_FAILED,
    WatchTimeoutError: TIMED_OUT,
    ReleaseTimeoutError: TIMED_OUT,
    StaleJobError: TIMED_OUT,
    AuthenticationError: ACCESS_DENIED,
    PermissionDeniedError: ACCESS_DENIED,
    TransportError: TRY_AGAIN,
    RateLimitError: TRY_AGAIN,
    ServerError: TRY_AGAIN,
    InvalidResponseError: TRY_AGAIN,
    WatchClosedError: TRY_AGAIN,
    BrokenPipeError: BROKEN_PIPE,
    OSError: TRY_AGAIN,
    APIError: REFUSED,
    BadRequestError: REFUSED,
    NotFoundError: REFUSED,
    ImageLockedError: REFUSED,
    ReleaseError: REFUSED,
    OutcomeUnknownError: OUTCOME_UNKNOWN,
    Exception: OUTCOME_UNKNOWN,  # a bug: another try does not help, and it is unknown what was processed
}
_TRANSIENT_CLIENT_ERRORS = frozenset({408, 425})
"""HTTP statuses of a plain `APIError` that are worth another try: Request Timeout and Too Early."""
_OUTCOMES = frozenset({"completed", "failed", "squashed", "timeout"})
_PHRASES = {
    "failed": "failed",
    "squashed": "squashed by a newer job",
    "timeout": "timed out",
    "error": "could not be watched",
    "unfinished": "not finished",
}
"""How a message names the outcomes of jobs that have not completed, the most severe first."""
_DNS_HINT = "check the host name in the base URL, and DNS"
_HINTS: dict[type[Exception], str] = {
    AuthenticationError: "check the keys or the token in the environment, and that they are meant for this host",
    ImageLockedError: "wait until {error.holder} no longer locks the image",
    NotFoundError: "check the ID, the account service ID and the base URL",
    PermissionDeniedError: "check that these credentials may use this account service ID",
    RateLimitError: "wait before trying again",
    OutcomeUnknownError: "look at the image before asking again",
    RetryOutcomeUnknownError: "see `clanforge {error.ref.kind} status {error.ref.id}` before asking again",
    TransportError: "check the network and the base URL; `clanforge doctor` tests each step",
    Exception: "",
}
_MESSAGE_HINTS = (
    ("not a JSON object", "check the base URL: a login page or a proxy may answer in place of the API"),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "if a private authority issued the certificate, set SSL_CERT_FILE to the authority's",
    ),
    ("[SSL", "check that the server speaks https on this port"),
    ("Connection refused", "nothing listens there: check the host and the port"),
    ("ProxyError", "check HTTPS_PROXY, or exempt the host with NO_PROXY"),
    ("Name or service not known", _DNS_HINT),  # Linux; then macOS, Windows, and a resolver that is down
    ("nodename nor servname", _DNS_HINT),
    ("getaddrinfo failed", _DNS_HINT),
    ("name resolution", _DNS_HINT),
)
"""Hints for a `TransportError` or an `InvalidResponseError`, by what its message contains, the most specific first."""
_SETTING_HINTS = {
    "account_service_id": "pass --account-service-id or set CLANFORGE_ACCOUNT_SERVICE_ID",
    "base_url": "pass --base-url or set CLANFORGE_BASE_URL",
}
"""Option and environment variable for each argument of the client that a `ConfigurationError` names."""
_NOT_RESUMABLE = JobFailedError | ConfigurationError | BadRequestError | NotFoundError
"""Errors after which watching the same job again is pointless."""


def exit_status(error: Exception) -> int:
    """Return the exit status for an error."""
    if type(error) is APIError and error.status_code in _TRANSIENT_CLIENT_ERRORS:
        return TRY_AGAIN
    if type(error) is ReleaseError and isinstance(error.__cause__, Exception):
        return exit_status(error.__cause__)
    return _find_by_class(_EXIT_STATUSES, error)


def highest_exit_status(results: Iterable[WatchResult]) -> int:
    """Return the exit status of several watches: the highest among them."""
    return max((exit_status(result.error) for result in results if result.error is not None), default=COMPLETED)


def outcome(error: Exception | None) -> str:
    """Return the outcome of a watch that ended with an error; None: without an error."""
    name = outcome_of(error).value
    return name if name in _OUTCOMES else "error"


def format_error(error: Exception) -> str:
    """Return an error as one line, with a hint on how to fix it."""
    cause = f" ({escape_and_truncate(str(error.__cause__))})" if isinstance(error.__cause__, ClanforgeError) else ""
    return "; ".join(filter(None, [f"error: {escape_and_truncate(str(error))}{cause}", hint(error)]))


def print_errors(
    results: Sequence[WatchResult], unfinished: Sequence[JobRef] = (), *, is_reason_shown: bool = False
) -> None:
    """Print a summary of failed watches, hints, and the command that resumes them; nothing if all jobs completed.

    Args:
        results: Results of the watches that ended.
        unfinished: Jobs that had not ended when watching stopped.
        is_reason_shown: Whether the reason of each failure is already printed for people.
    """
    errors = [result.error for result in results if result.error is not None]
    if not errors:
        return
    outcomes = [*(outcome(result.error) for result in results), *("unfinished" for _ in unfinished)]
    if len(outcomes) > 1:
        print_err("; ".join(filter(None, [f"error: {_summary(outcomes)}", *dict.fromkeys(map(hint, errors))])))
    elif is_reason_shown and not isinstance(errors[0], ConfigurationError):
        print_err("; ".join(filter(None, [f"error: {results[0].ref} {_PHRASES[outcomes[0]]}", hint(errors[0])])))
    else:
        print_err(format_error(errors[0]))
    print_resume_command("Not finished. Resume with", [*unfinished, *(r.ref for r in results if is_resumable(r))])


def is_resumable(result: WatchResult) -> bool:
    """Whether it makes sense to watch a job again whose watch has ended."""
    return result.error is not None and not isinstance(result.error, _NOT_RESUMABLE)


def print_job_failure(ref: JobRef, error: JobFailedError, *, is_reason_shown: bool) -> int:
    """Print that a single job has failed or was squashed, and return the exit status.

    Args:
        ref: The requested reference.
        error: The failure.
        is_reason_shown: Whether the reason is already printed for people.
    """
    print_err(f"error: {ref} {_PHRASES[outcome(error)]}" if is_reason_shown else format_error(error))
    return JOB_FAILED


def print_resume_command(message: str, refs: Sequence[JobRef]) -> None:
    """Print the command that continues to watch these jobs, if there are any."""
    if refs:
        print_err(f"{message}: clanforge watch {' '.join(map(str, refs))}")


def hint(error: Exception) -> str:
    """Return how to fix an error; empty if there is no advice."""
    if isinstance(error, ConfigurationError):
        return next((hint for name, hint in _SETTING_HINTS.items() if name in str(error)), "")
    if isinstance(error, TransportError | InvalidResponseError):
        message = str(error)
        if found := next((text for part, text in _MESSAGE_HINTS if part in message), None):
            return found
    return _find_by_class(_HINTS, error).format(error=error)


def _summary(outcomes: Sequence[str]) -> str:
    """Return ``1 of 3 jobs failed, 1 timed out``."""
    counts = Counter(outcomes)
    parts = [f"{counts[name]} {phrase}" for name, phrase in _PHRASES.items() if name in counts]
    first, _, rest = parts[0].partition(" ")
    return ", ".join([f"{first} of {format_job_count(len(outcomes))} {rest}", *parts[1:]])


def _find_by_class(table: Mapping[type[Exception], T], error: Exception) -> T:
    """Return the entry for the most specific class of an error; the table must have one for `Exception`."""
    return next(table[cls] for cls in type(error).__mro__ if cls in table)
