"""The polling strategies to compare."""

from __future__ import annotations

from attrs import frozen
from tenacity.wait import wait_base, wait_exponential

from clanforge_async import until_eta


@frozen
class Strategy:
    """A polling strategy.

    Attributes:
        name: Its name in tables and charts.
        interval: The ``interval`` of its `JobWatcher`.
        jobs: Number of simulated jobs; smaller for a strategy that makes many polls per job.
    """

    name: str
    interval: float | wait_base
    jobs: int


def _fixed(seconds: int, jobs: int) -> Strategy:
    return Strategy(f"fixed {seconds} s", float(seconds), jobs)


def _until_eta(factor: float) -> Strategy:
    poll_worth = until_eta().poll_worth * factor
    return Strategy(f"poll_worth={poll_worth:.2g}", until_eta(poll_worth=poll_worth), 200)


FIXED_5, FIXED_10, FIXED_30 = _fixed(5, 120), _fixed(10, 200), _fixed(30, 400)
FIXED = (_fixed(1, 40), _fixed(3, 80), FIXED_5, FIXED_10, FIXED_30)
EXPONENTIAL = Strategy("exponential 1 to 60 s", wait_exponential(multiplier=1, min=1, max=60), 400)
DEFAULT = Strategy("until_eta()", until_eta(), 800)
SETTINGS = (*map(_until_eta, (1 / 16, 1 / 6, 0.4)), DEFAULT, *map(_until_eta, (2.5, 6, 16)))
"""`until_eta`, from many polls to few."""
