"""What has happened in all worlds together: a machine that never tries something holds nothing of it."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar, cast

from hypothesis import event
from hypothesis.stateful import rule

R = TypeVar("R", bound=Callable[..., Any])

HAPPENED: Counter[str] = Counter()
RULES: set[str] = set()


_OUTCOMES = {
    "retry: returned",
    "retry: returned an end",
    "retry: RetryOutcomeUnknownError",
    "retry: TransportError",
    "retry: cancelled",
    "retry: not alone",
    "target: a job that is over",
    "target: a job that is not over",
    "watch: completed",
    "watch: failed",
    "watch: squashed",
    "watch: outage",
    "watch: cancelled",
    "watch: left",
    "watch: taken up again",
    "watch: WatchTimeoutError",
    "watch: timed out in calm",
    "watch: WatchClosedError",
    "watch: StaleJobError",
}


def assert_all_has_happened() -> None:
    """Hold that every rule was followed, and that everything has ended in every way."""
    assert {*RULES, *_OUTCOMES} <= set(HAPPENED), {*RULES, *_OUTCOMES} - set(HAPPENED)


def happens(what: str) -> None:
    """Write down that something has happened."""
    HAPPENED[what] += 1
    event(what)


def chronicled(**arguments: Any) -> Callable[[R], R]:
    """Make a rule of a method, as `rule` does, and write down each time that it is followed."""

    def decorate(method: R) -> R:
        RULES.add(method.__name__)

        @functools.wraps(method)
        def followed(*args: Any, **kwargs: Any) -> Any:
            happens(method.__name__)
            return method(*args, **kwargs)

        made: Callable[[Any], Any] = rule(**arguments)
        return cast("R", made(followed))

    return decorate
