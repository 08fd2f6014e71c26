"""What is told on stderr when things go wrong: one sentence, with what to do next where that is known."""

from __future__ import annotations

from collections.abc import Sequence

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
)
from clanforge_async.cli.outcomes import by_class, outcome
from clanforge_async.cli.tally import jobs, tally
from clanforge_async.cli.text import brief, say

_ADVICE: dict[type[Exception], str] = {
    AuthenticationError: "check the keys or the token in the environment, and that they are meant for this host",
    ImageLockedError: "accept or reject image diff {error.diff_id} first",
    NotFoundError: "check the ID and the account service ID",
    PermissionDeniedError: "check that these credentials may use this account service ID",
    RateLimitError: "wait before trying again",
    RetryOutcomeUnknownError: "see `clanforge image-diff status {error.diff_id}` before asking again",
    TransportError: "check the network and the base URL",
    Exception: "",
}
_ARGUMENTS = {
    "account_service_id": "pass --account-service-id or set CLANFORGE_ACCOUNT_SERVICE_ID",
    "base_url": "pass --base-url or set CLANFORGE_BASE_URL",
}
"""What the arguments of a client are called on the command line."""
_FINAL = JobFailedError | BadRequestError | NotFoundError
"""Errors after which nothing is left to watch."""


def complaint(error: Exception) -> str:
    """Return an error as a sentence."""
    cause = f" ({brief(str(error.__cause__))})" if isinstance(error.__cause__, ClanforgeError) else ""
    return "; ".join(filter(None, [f"error: {brief(str(error))}{cause}", _advice(error)]))


def complain(results: Sequence[WatchResult], left: Sequence[JobRef] = ()) -> None:
    """Tell that not all jobs have completed, what to do about it, and how to watch on.

    Args:
        results: How watches ended.
        left: What was watched and had not ended when the rest no longer mattered.
    """
    errors = [result.error for result in results if result.error is not None]
    if not errors:
        return
    outcomes = [*(outcome(result.error) for result in results), *("unfinished" for _ in left)]
    if len(outcomes) == 1:
        say(complaint(errors[0]))
    else:
        told = f"error: of {jobs(len(outcomes))} {tally(outcomes)}"
        say("; ".join(filter(None, [told, *dict.fromkeys(map(_advice, errors))])))
    say_how_to_resume("unfinished", [*left, *(r.ref for r in results if r.error and not isinstance(r.error, _FINAL))])


def say_how_to_resume(what: str, refs: Sequence[JobRef]) -> None:
    """Tell the command that watches these jobs on, if there are any."""
    if refs:
        say(f"{what}; to watch on: clanforge watch {' '.join(map(str, refs))}")


def _advice(error: Exception) -> str:
    if isinstance(error, ConfigurationError):
        return next((advice for name, advice in _ARGUMENTS.items() if name in str(error)), "")
    return by_class(_ADVICE, error).format(error=error)
