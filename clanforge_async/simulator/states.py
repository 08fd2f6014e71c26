"""Courses: the states that a run passes through, and how they are written in a line."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple, TypeAlias

from clanforge_async.jobs import JobState

_DEFAULT_DURATION = 1.0
"""Seconds that a state lasts for which none are given."""


class StateChange(NamedTuple):
    """A state and since when a job is in it."""

    since: float
    state: JobState


StateSequence: TypeAlias = tuple[StateChange, ...]
"""What a run passes through, since the seconds after its creation at which it comes there."""


def parse_states(text: str) -> StateSequence:
    """Read a sequence as `Run` describes it, such as ``created,running:40,failed``.

    Raises:
        ValueError: It is not of that form, or no job can take it.
    """
    *passed, last = text.split(",")
    changes, since = list[StateChange](), 0.0
    for step in passed:
        name, colon, seconds = step.partition(":")
        changes.append(StateChange(since, _state(name, text)))
        since += _duration(seconds, text) if colon else _DEFAULT_DURATION
    changes.append(StateChange(since, _state(last, text)))
    for earlier, later in itertools.pairwise(changes):
        if earlier.state.is_terminal or earlier.state >= later.state:
            raise _refusal(text, f"{later.state.name.lower()} cannot come after {earlier.state.name.lower()}")
    return tuple(changes)


def with_completion(text: str) -> str:
    """Return the same sequence with another end, if it had one: the job completes."""
    before, _, last = text.rpartition(",")
    passed = before if _state(last, text).is_terminal else text
    return f"{passed},completed".lstrip(",")


def _state(name: str, text: str) -> JobState:
    try:
        return JobState[name.strip().upper()]
    except KeyError:
        pass
    if ":" in name:
        raise _refusal(text, "the last state lasts for ever, so it takes no seconds")
    raise _refusal(text, f"{name.strip()!r} is none of {', '.join(state.name.lower() for state in JobState)}")


def _duration(seconds: str, text: str) -> float:
    try:
        duration = float(seconds)
    except ValueError:
        duration = math.nan
    if not 0 <= duration < math.inf:
        raise _refusal(text, f"{seconds!r} is no number of seconds")
    return duration


def _refusal(text: str, why: str) -> ValueError:
    return ValueError(f"states {text!r}: {why}")
