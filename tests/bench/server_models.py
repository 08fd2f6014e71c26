"""Models of how a server reports a job's progress and ETA, each with its own errors.

Times are in seconds; any clock can be used if it is used for all times.
"""

from __future__ import annotations

import math

from attrs import frozen

_MAX_RUNNING_PERCENTAGE = 99


@frozen(kw_only=True)
class ProgressModel:
    """Reports a percentage, given the elapsed fraction of the run.

    Attributes:
        power: Exponent of the fraction: below 1 the progress slows down, above 1 it speeds up.
        step: Percentage points of each change.
        stalls_at: Fraction of the run at which the progress stops.
        stalls_for: Fraction of the run for which the progress is constant; then it jumps to its normal value.
    """

    power: float = 1.0
    step: int = 1
    stalls_at: float = 0.0
    stalls_for: float = 0.0

    def percentage(self, fraction: float) -> int:
        """Return the percentage after a fraction of the run, while it runs."""
        percent = int(100 * math.pow(self._reported_fraction(fraction), self.power))
        return min(percent - percent % self.step, _MAX_RUNNING_PERCENTAGE)

    def _reported_fraction(self, fraction: float) -> float:
        resumes = self.stalls_at + self.stalls_for
        if fraction <= self.stalls_at:
            return fraction
        if fraction <= resumes:
            return self.stalls_at
        return self.stalls_at + (fraction - resumes) * (1 - self.stalls_at) / (1 - resumes)


@frozen(kw_only=True)
class EtaModel:
    """Estimates the end of a run.

    Attributes:
        bias: Fraction by which the ETA is late, or early if negative.
        improves: Whether ``bias`` is a fraction of the remaining time instead of the whole run.
        update_interval: Seconds between two ETAs; 0 if each response has a new one.
        while_queued: Whether there is an ETA before the job runs.
    """

    bias: float = 0.0
    improves: bool = True
    update_interval: float = 0.0
    while_queued: bool = True

    def end(self, started: float, completes: float, now: float) -> float | None:
        """Return the ETA of a run from ``started`` to ``completes``."""
        if now < started:
            return completes + self.bias * (completes - started) if self.while_queued else None
        since = now - started
        made = now - since % self.update_interval if self.update_interval else now
        return completes + self.bias * (completes - (made if self.improves else started))
