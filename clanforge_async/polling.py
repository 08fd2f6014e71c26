"""When to poll next: wait strategies for tenacity.

A strategy is a pure function of what a watch has seen. It knows neither the loop nor the network; that a moment is
far away is all it ever says.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime

from attrs import frozen
from tenacity import AsyncRetrying, RetryCallState
from tenacity.wait import wait_base, wait_fixed

from clanforge_async.errors import ConfigurationError
from clanforge_async.jobs import Job, JobState

_BEFORE_RUNNING = {JobState.CREATED, JobState.PENDING, JobState.QUEUED}

Interval = float | wait_base | Callable[[RetryCallState], float]


@frozen
class Sighting:
    """What one poll has shown that bears on when the job will end; plain numbers, in seconds.

    Attributes:
        now: The server's clock at the time, as Unix time.
        since: When the job was started, or created where it has not been started, as Unix time.
        is_running: Whether it had been started.
        progress: Percentage from 0 to 100.
        eta: When the server expected it to complete, as Unix time.
    """

    now: float
    since: float
    is_running: bool
    progress: int
    eta: float | None

    @classmethod
    def of(cls, job: Job, server_time: datetime) -> Sighting:
        """Take from a job what a strategy needs."""
        return cls(
            now=server_time.timestamp(),
            since=(job.started_at or job.created_at).timestamp(),
            is_running=job.started_at is not None and job.state not in _BEFORE_RUNNING,
            progress=job.progress,
            eta=None if job.eta is None else job.eta.timestamp(),
        )


class PollState(RetryCallState):
    """What tenacity tells a strategy, and what the watch has seen so far.

    Attributes:
        sightings: The latest ones, oldest first; empty until a job was seen.
    """

    sightings: tuple[Sighting, ...] = ()


class until_eta(wait_base):  # noqa: N801 - named as tenacity names its strategies
    """Aims at the end that the server's ``jobeta`` and ``jobprogress`` foretell.

    Both are seen from the server's own clock. Far from the end it sleeps a good part of what seems to remain, near
    it polls every ``min`` seconds, and once the estimate has passed it slows down again. A job that foretells
    nothing is polled at intervals that grow with its age.

    Args:
        min: Seconds between two polls, at the least.
        max: Seconds between two polls, at the most.

    Raises:
        ConfigurationError: Not ``0 < min <= max``.
    """

    def __init__(self, min: float = 1.0, max: float = 60.0) -> None:  # noqa: A002 - named as in tenacity
        if not 0 < min <= max < math.inf:
            msg = "until_eta needs 0 < min <= max seconds"
            raise ConfigurationError(msg)
        self.min = min
        self.max = max

    def __call__(self, retry_state: RetryCallState) -> float:
        """Return the seconds to wait before the next poll."""
        if retry_state.outcome is not None and retry_state.outcome.failed:
            return self.max  # a failure says nothing of the job; how soon to try again is not decided here
        sightings = retry_state.sightings if isinstance(retry_state, PollState) else ()
        seconds = _pause(sightings[-1]) if sightings else self.min * 2.0 ** min(retry_state.attempt_number - 1, 32)
        return min(max(seconds, self.min), self.max)


def _pause(sighting: Sighting) -> float:
    foretold = _remaining(sighting)
    if not foretold:
        return (sighting.now - sighting.since) / 10
    remaining = sum(foretold) / len(foretold)
    return remaining * 0.6 if remaining > 0 else -remaining * 0.15


def _remaining(sighting: Sighting) -> list[float]:
    foretold: list[float] = []
    if sighting.eta is not None:
        foretold.append(sighting.eta - sighting.now)
    if sighting.is_running and sighting.progress > 0:
        spent = sighting.now - sighting.since
        foretold.append(spent * (100 - sighting.progress) / sighting.progress)
    return foretold


def strategy(interval: Interval) -> AsyncRetrying:
    """Return tenacity's controller with a strategy in it; a number is a fixed interval in seconds.

    Raises:
        ConfigurationError: It is neither a positive number nor a strategy.
    """
    if callable(interval) and not isinstance(interval, type):
        return AsyncRetrying(wait=interval)
    if isinstance(interval, bool) or not isinstance(interval, int | float) or not 0 < interval < math.inf:
        msg = "interval must be a positive number of seconds or a tenacity wait strategy"
        raise ConfigurationError(msg)
    return AsyncRetrying(wait=wait_fixed(interval))
