"""How a command ended: the word and the exit status for each kind of error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeVar

from clanforge_async._watching.results import WatchTimeoutError, outcome_of
from clanforge_async.errors import AuthenticationError, ConfigurationError, PermissionDeniedError
from clanforge_async.jobs import JobFailedError

if TYPE_CHECKING:
    from clanforge_async import WatchResult

T = TypeVar("T")

COMPLETED = 0
MISUSED = 2
INTERRUPTED = 130
"""As shells report a program that Ctrl-C has ended: 128 and the signal's number. So are the next two."""
BROKEN_PIPE = 141
TERMINATED = 143

_STATUSES: dict[type[Exception], int] = {
    JobFailedError: 1,
    ConfigurationError: MISUSED,
    WatchTimeoutError: 3,
    AuthenticationError: 4,
    PermissionDeniedError: 4,
    Exception: 5,
}


def exit_status(error: Exception) -> int:
    """Return the exit status that an error makes."""
    return by_class(_STATUSES, error)


def worst_status(results: Iterable[WatchResult]) -> int:
    """Return the exit status of several watches: the highest of theirs."""
    return max((exit_status(result.error) for result in results if result.error is not None), default=COMPLETED)


def outcome(error: Exception | None) -> str:
    """Return in a word how a watch ended that ended with this error, or without one."""
    return outcome_of(error).value


def by_class(table: Mapping[type[Exception], T], error: Exception) -> T:
    """Return what a table, which must know `Exception`, holds for the nearest class of an error."""
    return next(table[cls] for cls in type(error).__mro__ if cls in table)
