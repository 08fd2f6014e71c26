"""When a job will end, judged by what its polls have shown: pure functions, all times in seconds.

Up to four sources foretell the end: the server's estimate as it stands, the same corrected for how it has drifted,
the progress drawn on as a straight line, and as a power curve through two polls. None is trusted for what it says,
each for how little it has moved: a source whose end shifts by a second for every ten that pass is thought to be wrong
by a tenth of what remains. One that has foretold an end that did not come says nothing until it foretells another.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Self

from attrs import asdict, evolve, field, frozen

from clanforge_async.jobs import Job, JobState

_REMEMBERED = 8
"""How many sightings a memory holds."""

_FIRST_DOUBT = 0.22
"""Of a source that has yet to show how well it foretells: its error, as a part of what remains."""

_LEAST_DOUBT = 0.05
"""However little a source has moved."""

_FORGETTING = 0.7
"""What an earlier movement counts, beside the latest."""

_MISTRUST = 0.1
"""What each second since the end that a source foretold at first adds to its error, the more the more it drifts."""

_ROUNDING = 1.2
"""Seconds of error that any source has, since the server counts whole seconds."""

_PROGRESS_ROUNDING = 0.006
"""What whole percents add to that, as a part of the whole duration."""

_MOST_OVERSTATED, _MOST_UNDERSTATED = -0.5, 0.6
"""How far an estimate is corrected, at the most, for the way it has drifted."""

_FLATTEST, _STEEPEST = 0.6, 1.7
"""Powers of the progress curve that are believed."""

_DONE = 100
_BEFORE_RUNNING = {JobState.CREATED, JobState.PENDING, JobState.QUEUED}


@frozen
class Sighting:
    """What one poll has shown that bears on when the job will end.

    Attributes:
        now: The server's clock at the time, as Unix time.
        since: When the job was started, or last updated where it has yet to be, as Unix time.
        is_running: Whether it has been started.
        progress: Percentage from 0 to 100.
        eta: When the server expected it to complete, as Unix time.
    """

    now: float
    since: float
    is_running: bool
    progress: int
    eta: float | None

    @classmethod
    def of(cls, job: Job, server_time: datetime) -> Self:
        """Take from a job what bears on its end."""
        # A diff that waits to run again may still tell when its last run was started.
        started = None if job.state in _BEFORE_RUNNING else job.started_at
        return cls(
            now=server_time.timestamp(),
            since=(started or job.updated_at).timestamp(),
            is_running=started is not None,
            progress=job.progress,
            eta=None if job.eta is None else job.eta.timestamp(),
        )

    @property
    def age(self) -> float:
        """Seconds that the job has run, or waited."""
        return max(self.now - self.since, 1.0)


@frozen
class Track:
    """What a source has foretold last, and how it has done so far.

    Attributes:
        end: When the job will end, as Unix time.
        rounding: Seconds by which that can be wrong for want of digits alone.
        at: When it was foretold, by the server's clock.
        first: The end that it had foretold at first.
        drift: Seconds by which its end has moved for each second passed; a sum that forgets.
        weight: What to divide that by.
    """

    end: float
    rounding: float
    at: float
    first: float
    drift: float = _FIRST_DOUBT
    weight: float = 1.0

    def followed_by(self, end: float, rounding: float, at: float) -> Self:
        """Return the track with one more end foretold."""
        if at < self.at:  # the server's clock was set back, and nothing is known of what it said before
            return type(self)(end, rounding, at, end)
        if at == self.at:
            return evolve(self, end=end, rounding=rounding)
        moved = abs(end - self.end) / (at - self.at)
        drift, weight = self.drift * _FORGETTING + moved, self.weight * _FORGETTING + 1
        return type(self)(end, rounding, at, self.first, drift, weight)

    def error(self) -> float:
        """Return the seconds by which the end is thought to be wrong."""
        drift = max(self.drift / self.weight, _LEAST_DOUBT)
        overdue = _MISTRUST * min(drift, 1.0) * (self.at - self.first)
        return max(self.rounding, overdue, drift * (self.end - self.at))


@frozen
class Memory:
    """What of a job's past bears on its end.

    Attributes:
        sightings: The latest ones, oldest first.
        tracks: By their names, the sources that have foretold an end.
        full_since: When all the work was first seen done, by the server's clock; None: not yet.
    """

    sightings: tuple[Sighting, ...] = ()
    tracks: Mapping[str, Track] = field(factory=dict[str, Track], hash=False)
    full_since: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the memory as plain data, fit for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Read what `to_dict` returned."""
        return cls(
            sightings=tuple(Sighting(**sighting) for sighting in plain["sightings"]),
            tracks={name: Track(**track) for name, track in dict(plain["tracks"]).items()},
            full_since=plain["full_since"],
        )


def remember(memory: Memory, seen: Sighting) -> Memory:
    """Return a memory with one more sighting in it."""
    before, tracks = memory.sightings, memory.tracks
    if before and before[-1].is_running != seen.is_running:
        before, tracks = (), {name: track for name, track in tracks.items() if name == "eta"}
    if before and not seen.is_running:
        seen = evolve(seen, since=min(seen.since, before[-1].since))
    foretold: dict[str, Track] = {}
    for name, end, rounding in _ends(before, seen):
        track = tracks.get(name) or Track(end, rounding, seen.now, end)
        foretold[name] = track.followed_by(end, rounding, seen.now)
    is_full = seen.is_running and seen.progress >= _DONE
    full_since = min(memory.full_since or seen.now, seen.now) if is_full else None
    return Memory((*before, seen)[-_REMEMBERED:], {**tracks, **foretold}, full_since)


def _ends(before: tuple[Sighting, ...], seen: Sighting) -> Iterator[tuple[str, float, float]]:
    if seen.eta is not None:
        yield "eta", seen.eta, _ROUNDING
        then, eta = next(((one.now, one.eta) for one in before if one.eta is not None), (seen.now, seen.eta))
        if seen.now > then:
            overstated = (eta - seen.eta) / (seen.now - then)
            yield "corrected eta", seen.now + _corrected(seen.eta - seen.now, overstated), 1.5 * _ROUNDING
    if seen.is_running and 0 < seen.progress < _DONE:
        duration = _spent(seen) / _done(seen)
        yield "progress", seen.since + duration, _ROUNDING + _PROGRESS_ROUNDING * duration
        earlier = next((one for one in before if 0 < one.progress < seen.progress), None)
        if earlier is not None and _spent(seen) > 1.05 * _spent(earlier):
            duration = _along_a_curve(earlier, seen)
            yield "progress curve", seen.since + duration, _ROUNDING + 1.5 * _PROGRESS_ROUNDING * duration


def _corrected(remaining: float, overstated: float) -> float:
    # An estimate that is off by a fixed part of what remains drifts towards the truth by that part.
    return remaining / (1 + min(max(overstated, _MOST_OVERSTATED), _MOST_UNDERSTATED))


def _along_a_curve(earlier: Sighting, seen: Sighting) -> float:
    power = math.log(_done(seen) / _done(earlier)) / math.log(_spent(seen) / _spent(earlier))
    return _spent(seen) * math.pow(_done(seen), -1 / min(max(power, _FLATTEST), _STEEPEST))


def _done(sighting: Sighting) -> float:
    # Percents and seconds are both cut off, so the truth lies half a unit further on average.
    return (sighting.progress + 0.5) / 100


def _spent(sighting: Sighting) -> float:
    return max(sighting.now - sighting.since, 0.0) + 0.5


@frozen
class Forecast:
    """How long a job still runs: a logistic distribution.

    Attributes:
        seconds: What remains, in the middle of it.
        scale: How far that may be off, as the distribution's scale.
    """

    seconds: float
    scale: float


_SCALE_OF_DEVIATION = math.sqrt(3) / math.pi
_OVERDUE_SCALE = 0.6


def forecast(memory: Memory) -> Forecast | None:
    """Return how long the job still runs; None where nothing foretells it."""
    if not memory.sightings:
        return None
    now = memory.sightings[-1].now
    ahead = [track for track in memory.tracks.values() if track.at == now and track.end > now]
    if ahead:
        return _combined(now, ahead)
    passed = [track.end for track in memory.tracks.values() if track.at == now]
    if memory.full_since is not None:
        passed.append(memory.full_since)
    if not passed:
        return None
    return Forecast(0.0, _OVERDUE_SCALE * (now - max(passed) + 1.5))


def _combined(now: float, tracks: list[Track]) -> Forecast:
    remaining = [track.end - now for track in tracks]
    weights = [1 / track.error() ** 2 for track in tracks]
    whole = sum(weights)
    middle = sum(weight * seconds for weight, seconds in zip(weights, remaining, strict=True)) / whole
    disagreement = sum(weight * (seconds - middle) ** 2 for weight, seconds in zip(weights, remaining, strict=True))
    return Forecast(middle, _SCALE_OF_DEVIATION * math.sqrt((1 + disagreement) / whole))
