"""The states of a run and when they change, and their notation such as ``created,running:40,failed``."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple, TypeAlias

from clanforge_async.jobs import JobState

_DEFAULT_DURATION = 1.0
"""Seconds that a state lasts if no number is given."""


class StateChange(NamedTuple):
    """The start of a state.

    Attributes:
        since: Time of the start: seconds after the run's creation in a `StateSequence`, Unix seconds in a
            `RunSchedule`.
        state: The state.
    """

    since: float
    state: JobState


StateSequence: TypeAlias = tuple[StateChange, ...]
"""The states of a run in order, each with the seconds from the run's creation to the start of the state."""


def parse_states(text: str) -> StateSequence:
    """Parse the notation that `Run` describes, such as ``created,running:40,failed``.

    Raises:
        ValueError: The text is malformed, or the states are in an impossible order.
    """
    *earlier_states, last = text.split(",")
    changes, since = list[StateChange](), 0.0
    for part in earlier_states:
        name, colon, seconds = part.partition(":")
        changes.append(StateChange(since, _state(name, text)))
        since += _duration(seconds, text) if colon else _DEFAULT_DURATION
    changes.append(StateChange(since, _state(last, text)))
    for earlier, later in itertools.pairwise(changes):
        if earlier.state.is_terminal or earlier.state >= later.state:
            raise _invalid(text, f"{later.state.name.lower()} cannot come after {earlier.state.name.lower()}")
    return tuple(changes)


def with_completion(text: str) -> str:
    """Return the same notation with ``completed`` at the end, instead of any other terminal state."""
    before, _, last = text.rpartition(",")
    kept = before if _state(last, text).is_terminal else text
    return f"{kept},completed".lstrip(",")


def _state(name: str, text: str) -> JobState:
    try:
        return JobState[name.strip().upper()]
    except KeyError:
        pass
    if ":" in name:
        raise _invalid(text, "the last state never ends, so it takes no number of seconds")
    raise _invalid(text, f"{name.strip()!r} is not one of {', '.join(state.name.lower() for state in JobState)}")


def _duration(seconds: str, text: str) -> float:
    try:
        duration = float(seconds)
    except ValueError:
        duration = math.nan
    if not 0 <= duration < math.inf:
        raise _invalid(text, f"{seconds!r} is not a number of seconds")
    return duration


def _invalid(text: str, reason: str) -> ValueError:
    return ValueError(f"states {text!r}: {reason}")
