"""The simulator as it is at any moment: from the schedule, the wall's clock and the journal of retries."""

from __future__ import annotations

import time
from collections.abc import Iterable

from support.simulator.calling import http_client

from clanforge_async import JobKind
from clanforge_async.simulator import Run, Simulator
from soak.journal import Retry
from soak.schedule import Target, every_target
from soak.settings import Settings

LONG_AGO = 60.0
"""Seconds before the beginning at which the diffs failed that are to be retried."""


class Clock:
    """Tells the time; or, where one is set, the moment of what is made good afterwards."""

    def __init__(self) -> None:
        self.moment: float | None = None

    def __call__(self) -> float:
        return time.time() if self.moment is None else self.moment


async def truth(settings: Settings, retries: Iterable[Retry]) -> Simulator:
    """Return a simulator with all jobs of a schedule, which has carried out these retries when it did before."""
    clock = Clock()
    simulator = Simulator(seed=settings.seed, clock=clock, quirks=True)
    for target in every_target(settings):
        clock.moment = settings.start + (-LONG_AGO if target.is_retried else target.created)
        _add(simulator, target)
    async with http_client(simulator) as http:
        for retry in retries:
            clock.moment = retry.at
            (await http.get(f"/cfp/v1/imagediff/{retry.diff_id}/retry")).raise_for_status()
    clock.moment = None
    return simulator


def _add(simulator: Simulator, target: Target) -> None:
    queued_for = target.queues * target.takes
    run = Run(duration=target.takes - queued_for, queued_for=queued_for, outcome=target.outcome, fails_at=1.0)
    if target.is_retried:
        simulator.add_image_diff(target.ref.id, duration=1.0, outcome="failed", retries=[run])
        return
    add = simulator.add_image_diff if target.ref.kind is JobKind.IMAGE_DIFF else simulator.add_image_version
    add(target.ref.id, duration=run.duration, queued_for=queued_for, outcome=run.outcome, fails_at=1.0)
