"""The ways of polling that are compared."""

from __future__ import annotations

from attrs import frozen
from tenacity.wait import wait_base, wait_exponential

from clanforge_async import until_eta


@frozen
class Strategy:
    """A way of polling.

    Attributes:
        name: What it is called in tables and pictures.
        interval: What a `JobWatcher` is given.
        jobs: How many jobs its figures rest on: the fewer, the more polls each of them takes.
    """

    name: str
    interval: float | wait_base
    jobs: int


def _fixed(seconds: int, jobs: int) -> Strategy:
    return Strategy(f"fixed {seconds} s", float(seconds), jobs)


def _setting(times: float) -> Strategy:
    worth = until_eta().poll_worth * times
    return Strategy(f"poll_worth={worth:.2g}", until_eta(poll_worth=worth), 200)


FIXED = (_fixed(1, 40), _fixed(3, 80), FIXED_5 := _fixed(5, 120), FIXED_10 := _fixed(10, 200), _fixed(30, 400))
EXPONENTIAL = Strategy("exponential 1 to 60 s", wait_exponential(multiplier=1, min=1, max=60), 400)
DEFAULT = Strategy("until_eta()", until_eta(), 800)
SETTINGS = (*map(_setting, (1 / 16, 1 / 6, 0.4)), DEFAULT, *map(_setting, (2.5, 6, 16)))
"""`until_eta` from many polls to few."""
