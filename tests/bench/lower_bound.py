"""Lower bound of the cost of polling: a poller that knows when a run completes, but not whether and when it fails."""

from __future__ import annotations

import math
from typing import NamedTuple


class Cost(NamedTuple):
    """Expected requests and delay of one job; seconds."""

    requests: float
    delay: float

    def total(self, poll_worth: float) -> float:
        """Return the delay plus the cost of the requests, in seconds."""
        return poll_worth * self.requests + self.delay


def lower_bound(duration: float, failing: float, poll_worth: float, max_pause: float) -> Cost:
    """Return the lowest cost of a run with this duration, if a share of the runs fails at any time.

    The last poll is at the end. Each pause is shorter by `poll_worth` than the previous one, because a run that has
    failed needs no further polls, but none is longer than `max_pause`. The number of pauses is the optimal one.
    """
    costs = list[Cost]()
    for number in range(max(math.ceil(duration / max_pause), 1), math.ceil(duration / poll_worth) + 2):
        pauses = best_pauses(duration, number, poll_worth, max_pause)
        if not pauses or (len(costs) > 1 and costs[-1].total(poll_worth) > costs[-2].total(poll_worth)):
            break
        costs.append(_cost(pauses, duration, failing))
    return min(costs, key=lambda cost: cost.total(poll_worth))


def best_pauses(duration: float, number: int, poll_worth: float, max_pause: float) -> list[float]:
    """Return the cheapest pauses of the given number, or an empty list if one of them would be negative."""
    for capped in range(number):
        falling = number - capped
        first = (duration - capped * max_pause + poll_worth * falling * (falling - 1) / 2) / falling
        if first <= max_pause:
            pauses = [max_pause] * capped + [first - poll_worth * k for k in range(falling)]
            return pauses if pauses[-1] > 0 else []
    return [duration / number] * number


def _cost(pauses: list[float], duration: float, failing: float) -> Cost:
    rate, at, requests, delay = failing / duration, 0.0, 0.0, 0.0
    for pause in pauses:
        requests += 1 - rate * at
        delay += rate * pause * pause / 2
        at += pause
    return Cost(requests, delay)
