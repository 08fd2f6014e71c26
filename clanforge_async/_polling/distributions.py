"""Distributions of the time at which a job ends."""

from __future__ import annotations

import math

from attrs import frozen

LOGISTIC_SCALE = math.sqrt(3) / math.pi
"""Scale of the logistic distribution whose standard deviation is 1."""

_MAX_EXPONENT = 500.0
"""Maximum exponent, so that no float overflows."""

_MAX_RATIO = 1e4
"""Maximum ratio of an age to a duration; larger ratios would change nothing."""


@frozen
class ExpectedDuration:
    """The expected duration of a run: a log-logistic distribution.

    Attributes:
        seconds: Median of the distribution.
        log_stddev: Standard deviation of the logarithm.
    """

    seconds: float
    log_stddev: float

    @property
    def shape(self) -> float:
        """The shape parameter: the odds that a run has ended are proportional to this power of its age."""
        return 1 / (LOGISTIC_SCALE * self.log_stddev)

    def odds(self, age: float) -> float:
        """Return the odds that a run has ended by an age."""
        return math.pow(min(age / self.seconds, _MAX_RATIO), self.shape)

    def hazard(self, age: float) -> float:
        """Return the probability per second that a run of this age ends."""
        odds = self.odds(age)
        return self.shape / age * odds / (1 + odds)

    def quantile(self, probability: float, age: float) -> float:
        """Return the age by which a run that has not ended at the given age ends with this probability."""
        odds = (1 + self.odds(age)) / (1 - probability) - 1
        return self.seconds * math.pow(odds, 1 / self.shape)


@frozen
class Forecast:
    """The time until a job's end, as a logistic distribution.

    Attributes:
        seconds: The distribution's mean; 0 if the end is overdue.
        scale: The distribution's scale.
        slip: Seconds by which the ETA has moved along with the clock; 0 if the ETA is not used.
    """

    seconds: float
    scale: float
    slip: float = 0.0

    def quantile(self, probability: float) -> float:
        """Return the seconds within which a job that has not ended yet ends with this probability."""
        odds_of_survival = (1 - probability) / (probability + math.exp(-min(self.seconds / self.scale, _MAX_EXPONENT)))
        return self.seconds - self.scale * math.log(odds_of_survival)
