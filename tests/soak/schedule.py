"""Which jobs there are: lanes of them, one after the other, so that a watch begins where another has ended."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from attrs import frozen

from clanforge_async import JobKind, JobRef
from clanforge_async.simulator import Outcome
from soak.settings import Settings

SHORTEST, LONGEST = 1 / 15, 2 / 5
"""What a job takes, as a part of the whole."""

STEADY = 0.9
"""The part of the whole before which no lane comes to its end."""

_LANE = 1_000
"""What an id is divided by to tell its lane."""

_RETRIED, _VERSIONS = 0.25, 0.5
_OUTCOMES: tuple[Outcome, ...] = ("completed", "completed", "failed", "squashed")


@frozen(kw_only=True)
class Target:
    """A job that is watched to its end.

    Attributes:
        ref: The job.
        created: When it is created, in seconds from the beginning.
        takes: Seconds from then to its end; or from its retry, if it is retried.
        queues: The part of that for which it waits before it runs.
        outcome: How it ends.
        is_retried: Whether it is an image diff that failed long ago and is retried before it is watched.
    """

    ref: JobRef
    created: float
    takes: float
    queues: float
    outcome: Outcome
    is_retried: bool


def every_target(settings: Settings) -> Iterator[Target]:
    """Return the targets of all lanes."""
    return itertools.chain.from_iterable(lane(settings, number) for number in range(1, settings.watches + 1))


def lane(settings: Settings, number: int) -> Iterator[Target]:
    """Return the targets of one lane; each is created as the one before it ends."""
    chance = random.Random(f"{settings.seed}/{number}")
    whole = settings.seconds
    shortest, longest = SHORTEST * whole, LONGEST * whole
    over = whole * chance.uniform(STEADY, 1.0)
    ends = 0.0
    for position in itertools.count(1):
        began = ends
        # The first of a lane is seen from its middle on, lest all lanes be in step.
        ends += chance.uniform(shortest if position > 1 else 0.0, longest)
        if ends > over - shortest:
            ends = over
        yield _target(chance, number * _LANE + position, began, ends - began)
        if ends == over:
            return


def _target(chance: random.Random, job_id: int, began: float, takes: float) -> Target:
    draw = chance.random()
    is_version = _RETRIED <= draw < _RETRIED + _VERSIONS
    return Target(
        ref=JobRef(JobKind.IMAGE_VERSION if is_version else JobKind.IMAGE_DIFF, job_id),
        created=began,
        takes=takes,
        queues=chance.uniform(0.0, 0.3),
        outcome=chance.choice(_OUTCOMES),
        is_retried=draw < _RETRIED,
    )
