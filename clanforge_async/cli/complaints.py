"""What is told on stderr when things go wrong: one sentence, with what to do next where that is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from clanforge_async import (
    AuthenticationError,
    BadRequestError,
    ClanforgeError,
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
from clanforge_async.cli.text import brief, say

_ADVICE: dict[type[Exception], str] = {
    AuthenticationError: "check the keys or the token in the environment, and that they are meant for this host",
    BadRequestError: "check the ID and the account service ID",
    ImageLockedError: "accept or reject image diff {error.diff_id} first",
    NotFoundError: "check the ID and the account service ID",
    PermissionDeniedError: "check that these credentials may use this account service ID",
    RateLimitError: "wait before trying again",
    RetryOutcomeUnknownError: "see `clanforge image-diff status {error.diff_id}` before asking again",
    TransportError: "check the network and the base URL",
    Exception: "",
}
_FINAL = JobFailedError | BadRequestError | NotFoundError
"""Errors after which nothing is left to watch."""


def complaint(error: Exception) -> str:
    """Return an error as a sentence."""
    cause = f" ({brief(str(error.__cause__))})" if isinstance(error.__cause__, ClanforgeError) else ""
    return "; ".join(filter(None, [f"error: {brief(str(error))}{cause}", _advice(error)]))


def complain(results: Sequence[WatchResult]) -> None:
    """Tell that not all jobs have completed, what to do about it, and how to watch on."""
    errors = [result.error for result in results if result.error is not None]
    if not errors:
        return
    if len(results) == 1:
        say(complaint(errors[0]))
    else:
        tally = Counter(outcome(result.error) for result in results)
        ended = ", ".join(f"{count} {word}" for word, count in tally.items())
        say("; ".join(filter(None, [f"error: of {len(results)} jobs {ended}", *dict.fromkeys(map(_advice, errors))])))
    say_how_to_resume("unfinished", [r.ref for r in results if r.error and not isinstance(r.error, _FINAL)])


def say_how_to_resume(what: str, refs: Sequence[JobRef]) -> None:
    """Tell the command that watches these jobs on, if there are any."""
    if refs:
        say(f"{what}; to watch on: clanforge watch {' '.join(map(str, refs))}")


def _advice(error: Exception) -> str:
    return by_class(_ADVICE, error).format(error=error)
