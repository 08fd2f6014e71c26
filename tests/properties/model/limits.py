"""What a client keeps to whatever happens, and what it leaves behind: nothing."""

from __future__ import annotations

import asyncio

from properties.model.world import World

_A_LONG_TIME = 4 * 3600
"""Seconds after which every job has ended and every watch knows, however slow the client and the polling are."""


class Pace:
    """Holds that in no window there are more requests than a burst and what the rate allows for its length.

    The requests less what the rate allows, at the worst over all windows that end now, follow from the same a moment
    before: so each request is looked at once.
    """

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._seen = 0
        self._excess = 0.0
        self._last = 0.0

    def check(self, sent: list[float]) -> None:
        """Look at the requests that have been sent since this was last done."""
        if self._rate is None:
            return
        for moment in sent[self._seen :]:
            self._excess = max(self._excess - self._rate * (moment - self._last), 0.0) + 1
            self._last = moment
            assert self._excess <= max(self._rate, 1.0) + 1e-3, f"{self._excess} requests too many at {moment}"
        self._seen = len(sent)


def assert_able(world: World) -> None:
    """Hold that as many requests as ever go out at once after a rest, and no more: no slot or pace is lost or won."""
    world.pass_time(120)
    subject = world.simulator.add_image_version(10**6, duration=60)
    count = world.settings.max_concurrency
    world.network.barrier = asyncio.Barrier(count)
    asked = len(world.network.log)

    async def ask_together() -> None:
        await asyncio.gather(*(world.client.image_versions.status(subject.id) for _ in range(count + 1)))

    world.do(ask_together())
    at_once = count if world.settings.max_rate is None else min(count, max(int(world.settings.max_rate), 1))
    moments = [passage.sent for passage in world.network.log[asked:]]
    assert len(moments) == count + 1
    assert world.network.most_in_flight <= count
    assert moments[at_once - 1] == moments[0]


def assert_ends(world: World) -> None:
    """Hold that once nothing goes wrong any more, every call and every watch comes to its end."""
    world.mend()
    world.pass_time(_A_LONG_TIME)
    world.do(world.network.drain())
    world.see()
    assert not world.attempts, f"calls that never end: {world.attempts}"
    assert not world.parties, f"watches that never end: {world.parties}"


def assert_leaves_nothing(world: World) -> None:
    """Hold that a closed watcher and a closed client leave no task, no timer and no request."""
    world.do(world.watcher.aclose())
    world.do(world.client.aclose())
    assert world.network.times_closed == 1
    assert world.network.in_flight == 0
    assert world.simulator.requests.in_flight == 0
    assert not asyncio.all_tasks(world.loop)
    timers = [timer for timer in world.loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
    assert not timers
