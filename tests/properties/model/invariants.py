"""Invariants of a client and its watchers: limits, ends, and a clean shutdown."""

from __future__ import annotations

import asyncio

from properties.model.world import World

_UNTIL_EVERYTHING_ENDS = 4 * 3600
"""Seconds after which every job and every watch has ended, at the slowest rate and interval."""


class RateCheck:
    """Asserts that no time window has more requests than a burst plus its length times the rate.

    The worst excess over all windows that end now follows from the worst excess at the request before, so each
    request is checked once.
    """

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._seen = 0
        self._excess = 0.0
        self._last = 0.0

    def check(self, sent: list[float]) -> None:
        """Check the requests sent since the last call."""
        if self._rate is None:
            return
        for moment in sent[self._seen :]:
            self._excess = max(self._excess - self._rate * (moment - self._last), 0.0) + 1
            self._last = moment
            assert self._excess <= max(self._rate, 1.0) + 1e-3, f"{self._excess} requests too many at {moment}"
        self._seen = len(sent)


def assert_full_capacity(world: World) -> None:
    """Assert that an idle client sends as many requests at once as at the start: no slot was lost or gained."""
    world.pass_time(120)
    if world.token_auth is not None:
        world.token_auth.keep_token()
    tracked = world.simulator.add_image_version(10**6, duration=60)
    count = world.settings.max_concurrency
    world.network.barrier = asyncio.Barrier(count)
    asked = len(world.network.log)

    async def request_together() -> None:
        await asyncio.gather(*(world.client.image_versions.status(tracked.id) for _ in range(count + 1)))

    world.run(request_together())
    at_once = count if world.settings.max_rate is None else min(count, max(int(world.settings.max_rate), 1))
    moments = [logged.sent for logged in world.network.log[asked:]]
    assert len(moments) == count + 1
    assert world.network.most_in_flight <= count
    assert moments[at_once - 1] == moments[0]


def assert_everything_ends(world: World) -> None:
    """Assert that every call and every watch ends once all faults are cleared."""
    world.clear_faults()
    world.pass_time(_UNTIL_EVERYTHING_ENDS)
    world.run(world.network.drain())
    world.check()
    assert not world.retry_calls, f"calls that never end: {world.retry_calls}"
    assert not world.watch_groups, f"watches that never end: {world.watch_groups}"


def assert_clean_shutdown(world: World) -> None:
    """Assert that a closed watcher and a closed client leave no task, no timer and no request."""
    world.run(world.watcher.aclose())
    world.run(world.client.aclose())
    assert world.network.times_closed == 1
    assert world.network.in_flight == 0
    assert world.simulator.requests.in_flight == 0
    assert not asyncio.all_tasks(world.loop)
    timers = [timer for timer in world.loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
    assert not timers
