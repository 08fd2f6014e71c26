"""Errors of releases: the message, and the token that resumes the release."""

from __future__ import annotations

from clanforge_async import (
    ReleaseError,
    ReleaseRejectedError,
    ReleaseResult,
    ReleaseSupersededError,
    ReleaseTimeoutError,
    ReleaseToken,
)
from clanforge_async.cli.errors import hint
from clanforge_async.cli.formatting import escape_and_truncate


def format_release_error(error: Exception) -> str:
    """Return an error as one line, with a hint on how to fix its cause."""
    cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
    return "; ".join(filter(None, [f"error: {escape_and_truncate(describe_release_error(error))}", hint(cause)]))


def describe_release_error(error: Exception) -> str:
    """Return the text of an error; that of a timeout names the failure that went before, if one did."""
    failure = last_failure(error)
    return str(error) if failure is None else f"{error}; last request: {failure}"


def last_failure(error: Exception | None) -> BaseException | None:
    """Return the failure of the API that had not passed when a release timed out; None without one."""
    return error.__cause__ if isinstance(error, ReleaseTimeoutError) else None


def is_over(result: ReleaseResult) -> bool:
    """Whether a release has nothing to resume."""
    error = result.error
    return (
        result.outcome in ("released", "unchanged", "rejected")
        or isinstance(error, ReleaseRejectedError | ReleaseSupersededError)
        or (isinstance(error, ReleaseError) and error.job is not None)
    )


def is_resumable(token: ReleaseToken) -> bool:
    """Whether a call with a side effect was made, so that a new release would repeat it."""
    return bool(token.update or token.diff or token.intent)
