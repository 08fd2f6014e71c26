"""When a job will end, judged by what its polls have shown: pure functions, all times in seconds.

Two sources foretell the end, the server's estimate and the job's progress (see `_sources`), and one tells of it: work
that is all done. Each says when the end will be and how far that may be off. What they say is weighed by how narrow it
is, and whatever they disagree by adds to the doubt. So a source that has been wrong fades: the more its end has moved,
and the longer the end has passed that it foretold, the less it counts beside the others. Where all ends have passed,
the job may end at any moment, and the longer it has not the less is known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self

from attrs import asdict, frozen

from clanforge_async._polling.estimators import (
    ROUNDING,
    Mark,
    Track,
    follow_estimate,
    follow_progress,
    should_have_done,
)
from clanforge_async.jobs import Job, JobState

_SCALE_OF_DEVIATION = math.sqrt(3) / math.pi
_EVEN_DEVIATION = 1 / math.sqrt(3)
"""The standard deviation of what lies anywhere within 1 of its middle."""

_DONE = 100
_COARSE = 5
"""Percents from which on a step is believed: a few values are all multiples of 2 or 3 by chance."""

_BEFORE_RUNNING = {JobState.CREATED, JobState.PENDING, JobState.QUEUED}


@frozen
class Sample:
    """What one poll has shown that bears on when the job will end.

    Attributes:
        now: The server's clock at the time, as Unix time.
        since: When the job was started, or last updated where it has yet to be, as Unix time.
        is_running: Whether it has been started.
        progress: Percentage from 0 to 100; 0 where it is not known since when.
        eta: When the server expected it to complete, as Unix time; None: it did not say.
        updated: When the job was last updated, as Unix time.
    """

    now: float
    since: float
    is_running: bool
    progress: int
    eta: float | None
    updated: float

    @classmethod
    def of(cls, job: Job, server_time: datetime) -> Self:
        """Take from a job what bears on its end."""
        # A diff that waits to run again may still tell when its last run was started, and when that should have ended.
        started = None if job.state in _BEFORE_RUNNING else job.started_at
        updated = job.updated_at.timestamp()
        since = updated if started is None else started.timestamp()
        eta = None if job.eta is None else job.eta.timestamp()
        if eta is not None and eta <= since:
            eta = None
        is_running = started is not None or job.state is JobState.RUNNING
        # Without a start there is nothing from which a progress could be drawn on.
        progress = 0 if started is None else job.progress
        return cls(server_time.timestamp(), since, is_running, progress, eta, updated)

    @property
    def age(self) -> float:
        """Seconds that the job has run, or waited."""
        return max(self.now - self.since, 1.0)


@frozen
class ForecastState:
    """What of a job's past bears on its end.

    Attributes:
        last: The latest sighting.
        eta: What the server's estimates have foretold; None: it has made none.
        progress: What the progress has foretold; None: there was none, or the job does not run.
        step: The percents of which all progress seen so far is a multiple.
        full_since: When all the work was first seen done, by the server's clock; None: not yet.
    """

    last: Sample | None = None
    eta: Track | None = None
    progress: Track | None = None
    step: int = _DONE
    full_since: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the memory as plain data, fit for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Read what `to_dict` returned."""
        last = plain["last"]
        return cls(
            None if last is None else Sample(**last),
            _track(plain["eta"]),
            _track(plain["progress"]),
            plain["step"],
            plain["full_since"],
        )


def _track(plain: Mapping[str, Any] | None) -> Track | None:
    if plain is None:
        return None
    marks: dict[str, Any] = {name: Mark(**plain[name]) for name in ("latest", "reference", "successor")}
    return Track(**(dict(plain) | marks))


def update_forecast(memory: ForecastState, seen: Sample) -> ForecastState:
    """Return a memory with one more sighting in it."""
    last = memory.last
    if last is not None and seen.now < last.now:  # the server's clock was set back: what was seen before has no place
        memory, last = ForecastState(), None
    if last is not None and (last.is_running != seen.is_running or (seen.is_running and last.since != seen.since)):
        memory = ForecastState(eta=memory.eta)  # another run, of which the progress so far tells nothing
    elif last is not None and not seen.is_running and last.since < seen.since:
        seen = Sample(seen.now, last.since, seen.is_running, seen.progress, seen.eta, seen.updated)
    eta = _followed_eta(memory.eta, last, seen)
    if not seen.is_running or seen.progress == 0:
        return ForecastState(seen, eta)
    if seen.progress >= _DONE:
        return ForecastState(seen, eta, None, memory.step, seen.now if memory.full_since is None else memory.full_since)
    step = math.gcd(memory.step, seen.progress)
    taken = step if step >= _COARSE else 1
    return ForecastState(seen, eta, _followed_progress(memory.progress, last, seen, taken), step)


def _made_at(last: Sample | None, seen: Sample) -> float:
    """Return when the server has made what it shows: at its latest update, where that can be."""
    not_before = seen.since if last is None else max(last.now, seen.since)
    return seen.updated if not_before < seen.updated < seen.now else seen.now


def _followed_eta(before: Track | None, last: Sample | None, seen: Sample) -> Track | None:
    if seen.eta is None or (before is not None and before.latest.value == seen.eta):
        return before
    at = _made_at(last, seen)
    if last is not None and before is not None and before.latest.at < last.now and at == seen.now:
        at = (last.now + seen.now) / 2  # it stood for some polls, so it was revised at any moment since the last
    return follow_estimate(before, Mark(at, seen.eta))


def _followed_progress(before: Track | None, last: Sample | None, seen: Sample, step: int) -> Track:
    if before is None or last is None or seen.now == last.now:
        return follow_progress(None, _mark(last, seen, step), seen.since)
    if seen.progress != last.progress:
        return follow_progress(before, _mark(last, seen, step), seen.since)
    next_step = (seen.progress + step) / _DONE
    if next_step < 1 and should_have_done(before, next_step, seen.since, seen.now):
        # It lags behind: all that is sure is that the next step has not been reached.
        return follow_progress(before, Mark(seen.now, next_step, _doubt(step)), seen.since)
    return before


def _mark(last: Sample | None, seen: Sample, step: int) -> Mark:
    """Return what a progress says that has just moved, in the narrower of two ways.

    It has reached what it shows at some moment since the last poll, or it is now somewhere within its step.
    """
    at = _made_at(last, seen)
    if at < seen.now:
        step = 1  # the server has told the moment
    elif last is not None and last.is_running and last.progress < seen.progress:
        half = (seen.now - last.now) / 2
        doubt = half * _EVEN_DEVIATION / seen.age * seen.progress / _DONE
        if doubt < _doubt(step):
            return Mark(seen.now - half, seen.progress / _DONE, doubt)
    return Mark(at, (seen.progress + step / 2) / _DONE, _doubt(step))


def _doubt(step: int) -> float:
    return step / 2 / _DONE * _EVEN_DEVIATION


@frozen
class Forecast:
    """How long a job still runs: a logistic distribution.

    Attributes:
        seconds: What remains, in the middle of it.
        scale: How far that may be off, as the distribution's scale.
    """

    seconds: float
    scale: float


def forecast(memory: ForecastState) -> Forecast | None:
    """Return how long the job still runs; None where nothing foretells it."""
    last = memory.last
    if last is None:
        return None
    left = list[tuple[float, float]]()
    if memory.eta is not None and last.eta is not None and not memory.eta.recedes:
        left.append(memory.eta.left(last.now))
    if memory.progress is not None:
        left.append(memory.progress.left(last.now))
    elif memory.full_since is not None:
        left.append((0.0, ROUNDING + last.now - memory.full_since))
    return _combined(*left) if left else None


def _combined(first: tuple[float, float], second: tuple[float, float] | None = None) -> Forecast:
    seconds, doubt = first
    if second is None:
        return Forecast(seconds, _SCALE_OF_DEVIATION * doubt)
    others, doubted = second
    # Each is weighed by how narrow it is; what they disagree by adds to the doubt about both.
    weight = doubted * doubted / (doubt * doubt + doubted * doubted)
    apart = weight * (1 - weight) * (seconds - others) ** 2
    narrow = weight * doubt * doubt
    return Forecast(weight * seconds + (1 - weight) * others, _SCALE_OF_DEVIATION * math.sqrt(narrow + apart))
