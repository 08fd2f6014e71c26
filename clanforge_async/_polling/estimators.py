"""What foretells a job's end, and how surely: the server's estimate, and the progress drawn on. No I/O, no clock.

Both are read as of the moment at which they were made, which may be long before the poll that shows them: an estimate
that is not revised gets no better as its end comes near. Both are corrected for the way they err. An estimate tends to
be off by some part of what remains, so that its end moves by that part of every second; progress tends to follow a
power of time. That part and that power are measured between two marks, the earlier of which stays about halfway back,
and weighed against what is usual by how well whole seconds and percents let them be measured. What remains open is the
error that a source owns up to. What its end moves beyond that is its drift, and counts against it from then on.
"""

from __future__ import annotations

import math

from attrs import frozen

ROUNDING = 1.0
"""Seconds of error that any end has, since the server counts whole seconds."""

_USUAL_BIAS = 0.12
"""By what part of what remains an estimate is usually off."""

_USUAL_BEND = 0.2
"""By how much the power of time that progress follows usually differs from 1."""

_LOWEST_BIAS, _HIGHEST_BIAS = -0.5, 1.0
_LOWEST_POWER, _HIGHEST_POWER = 0.5, 2.0

_RECEDING = -0.8
"""The bias of an estimate whose end moves away nearly as fast as time passes: it foretells nothing."""

_LEAP = 1.5
"""Seconds for each second passed by which an end cannot move for being biased: the estimate was made anew."""

_SHORTEST_LEVER = 1.05
"""By what factor the times of two marks have to differ for them to tell the power."""

_WORST_SURPRISE = 3.0
"""Seconds for each second passed beyond which a surprise is no worse: one absurd estimate is forgotten after some."""

_LEARNING = 0.3
"""What the latest surprise counts for the drift, beside all earlier ones."""


@frozen
class Mark:
    """What a source said at one moment.

    Attributes:
        at: When, as Unix time.
        value: The end foretold, as Unix time, or the part of the work that was done.
        doubt: By how much the part done may be off, as a standard deviation.
    """

    at: float
    value: float
    doubt: float = 0.0


@frozen
class Track:
    """What a source foretells, and how it has done so far.

    Attributes:
        end: When the job will end, as Unix time.
        error: Seconds by which the source owns that this may be off, as a standard deviation.
        drift: Seconds by which its end has moved beyond that error, for each second passed, of late.
        latest: What it said last.
        reference: What it said some time ago, with which the latest is compared.
        successor: What the reference will be when that lies too far back.
        recedes: Whether its end moves away as fast as time passes.
    """

    end: float
    error: float
    drift: float
    latest: Mark
    reference: Mark
    successor: Mark
    recedes: bool = False

    def left(self, now: float) -> tuple[float, float]:
        """Return the seconds until the end, and by how many that is thought to be off, as a standard deviation.

        An end that has passed is off by what it is overdue, so it counts ever less beside one that lies ahead.
        """
        drifted = self.drift * max(self.end - self.latest.at, 0.0)
        return max(self.end - now, 0.0), self.error + drifted + max(now - self.end, 0.0)


def follow_estimate(before: Track | None, made: Mark) -> Track:
    """Return what an estimate foretells that has just been made, or made differently."""
    if before is None or made.at <= before.latest.at:
        return _new_estimate(made)
    then, reference, successor = before.latest, before.reference, before.successor
    if abs(made.value - then.value) > _LEAP * (made.at - then.at):
        return _new_estimate(made, _drift(before, made.value, made.at))
    if successor.value - successor.at >= 2 * (made.value - made.at):
        reference, successor = successor, made
    passed = made.at - reference.at
    measured = (reference.value - made.value) / passed
    bias, doubt = _weighed(measured, ROUNDING / passed, 0.0, _USUAL_BIAS)
    if then.value <= made.at:  # an end that did not come tells no bias
        bias, doubt = 0.0, _USUAL_BIAS
    remaining = max(made.value - made.at, 0.0) / (1 + _clamped(bias, _LOWEST_BIAS, _HIGHEST_BIAS))
    end = made.at + remaining
    recedes = measured < _RECEDING and reference is not then
    drift = _drift(before, end, made.at)
    return Track(end, ROUNDING + doubt * remaining, drift, made, reference, successor, recedes)


def follow_progress(before: Track | None, done: Mark, since: float) -> Track:
    """Return what the progress foretells of a job that runs since a moment."""
    if before is None or done.value < before.latest.value:
        reference = successor = done
    else:
        reference, successor = before.reference, before.successor
        if done.at - since >= 2 * (successor.at - since):
            reference, successor = successor, done
    power, doubt = _power(reference, done, since)
    duration = _spent(done, since) * math.pow(done.value, -1 / power)
    error = duration / power * math.hypot(done.doubt / done.value, math.log(done.value) / power * doubt)
    end = since + duration
    drift = 0.0 if before is None else _drift(before, end, done.at)
    return Track(end, ROUNDING + error, drift, done, reference, successor)


def should_have_done(track: Track, part: float, since: float, now: float) -> bool:
    """Tell whether a part of the work should be done by now, going by the progress so far."""
    power, _ = _power(track.reference, track.latest, since)
    return (track.end - since) * math.pow(part, 1 / power) < now - since


def _new_estimate(made: Mark, drift: float = 0.0) -> Track:
    error = ROUNDING + _USUAL_BIAS * max(made.value - made.at, 0.0)
    return Track(made.value, error, drift, made, made, made)


def _drift(before: Track, end: float, at: float) -> float:
    surprise = max(abs(end - before.end) - before.error, 0.0) / max(at - before.latest.at, 1.0)
    return before.drift + _LEARNING * (min(surprise, _WORST_SURPRISE) - before.drift)


def _power(reference: Mark, done: Mark, since: float) -> tuple[float, float]:
    """Return the power of time that the progress follows, and how well that is known."""
    lever = _spent(done, since) / _spent(reference, since)
    if done.value <= reference.value or lever < _SHORTEST_LEVER:
        return 1.0, _USUAL_BEND
    span = math.log(lever)
    measured = math.log(done.value / reference.value) / span
    power, doubt = _weighed(
        measured, (done.doubt / done.value + reference.doubt / reference.value) / span, 1.0, _USUAL_BEND
    )
    return _clamped(power, _LOWEST_POWER, _HIGHEST_POWER), doubt


def _weighed(measured: float, doubt: float, usual: float, spread: float) -> tuple[float, float]:
    # The mean of two normal distributions, each weighed by how narrow it is.
    trust = spread * spread / (spread * spread + doubt * doubt)
    return usual + trust * (measured - usual), spread * math.sqrt(1 - trust)


def _spent(mark: Mark, since: float) -> float:
    return max(mark.at - since, 0.5)


def _clamped(value: float, lowest: float, highest: float) -> float:
    return min(max(value, lowest), highest)
