"""Counts the events of all worlds, so that the test fails if the machine never reached one of them."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar, cast

from hypothesis import event
from hypothesis.stateful import rule

R = TypeVar("R", bound=Callable[..., Any])

EVENTS: Counter[str] = Counter()
RULES: set[str] = set()


_EXPECTED_OUTCOMES = {
    "retry: returned",
    "retry: returned a terminal job",
    "retry: RetryOutcomeUnknownError",
    "retry: TransportError",
    "retry: cancelled",
    "retry: concurrent",
    "target: terminal job",
    "target: unfinished job",
    "watch: completed",
    "watch: failed",
    "watch: squashed",
    "watch: outage",
    "watch: cancelled",
    "watch: iterator dropped",
    "watch: resumed",
    "watch: WatchTimeoutError",
    "watch: timed out without faults",
    "watch: WatchClosedError",
    "watch: StaleJobError",
}


def assert_all_events_occurred() -> None:
    """Assert that every rule ran, and that calls and watches ended in every way."""
    assert {*RULES, *_EXPECTED_OUTCOMES} <= set(EVENTS), {*RULES, *_EXPECTED_OUTCOMES} - set(EVENTS)


def record(name: str) -> None:
    """Count an event."""
    EVENTS[name] += 1
    event(name)


def recorded_rule(**arguments: Any) -> Callable[[R], R]:
    """Make a method a rule, as `rule` does, and count each of its runs."""

    def decorate(method: R) -> R:
        RULES.add(method.__name__)

        @functools.wraps(method)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            record(method.__name__)
            return method(*args, **kwargs)

        made: Callable[[Any], Any] = rule(**arguments)
        return cast("R", made(recorded))

    return decorate
