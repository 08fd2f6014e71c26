"""The signs by which a server foretells a job's end: its progress and its estimates, each with its own flaw.

A sign knows the job's truth and shows it bent. Moments are seconds on one clock, whichever it is.
"""

from __future__ import annotations

import math

from attrs import frozen

_LAST_BEFORE_THE_END = 99


@frozen(kw_only=True)
class Progress:
    """How the shown percentage follows the fraction of the run that has passed.

    Attributes:
        power: To which the fraction is raised: below 1 the progress slows down, above 1 it speeds up.
        step: Percentage points by which it moves.
        stalls_at: The fraction of the run from which on it stands still.
        stalls_for: The fraction of the run for which it does so; then it moves faster than before, to end in time.
    """

    power: float = 1.0
    step: int = 1
    stalls_at: float = 0.0
    stalls_for: float = 0.0

    def percentage(self, fraction: float) -> int:
        """Return what is shown after a fraction of the run, as long as it goes on."""
        percent = int(100 * math.pow(self._moved(fraction), self.power))
        return min(percent - percent % self.step, _LAST_BEFORE_THE_END)

    def _moved(self, fraction: float) -> float:
        resumes = self.stalls_at + self.stalls_for
        if fraction <= self.stalls_at:
            return fraction
        if fraction <= resumes:
            return self.stalls_at
        return self.stalls_at + (fraction - resumes) * (1 - self.stalls_at) / (1 - resumes)


@frozen(kw_only=True)
class Estimate:
    """When the server expects the end.

    Attributes:
        bias: By which fraction the estimate is late, or early below 0.
        improves: Whether that is a fraction of the time that remained when it was made, not of the whole run.
        renewed_every: Seconds between two estimates; 0: each is made when it is asked for.
        while_queued: Whether there is one before the job runs.
    """

    bias: float = 0.0
    improves: bool = True
    renewed_every: float = 0.0
    while_queued: bool = True

    def end(self, started: float, completes: float, now: float) -> float | None:
        """Return the expected end of a run that truly lasts from ``started`` to ``completes``."""
        if now < started:
            return completes + self.bias * (completes - started) if self.while_queued else None
        since = now - started
        made = now - since % self.renewed_every if self.renewed_every else now
        return completes + self.bias * (completes - (made if self.improves else started))
