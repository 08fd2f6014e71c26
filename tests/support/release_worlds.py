"""A simulated service with images to release, in virtual time, and processes that are killed at a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import httpx

from clanforge_async import ClanforgeClient, ImageRelease, JobWatcher, Releaser, ReleaseToken
from clanforge_async.simulator import Policies, Simulator

T = TypeVar("T")

START = 1_763_769_600.75
"""2025-11-22 00:00:00.75 UTC: not a whole second, like the time of a real clock."""

SOURCE = "s3://key:se%2Fcret@bucket/builds/"
FILES = {"bin/server": "1", "maps/quarry.pak": "1"}
BUILD = {"bin/server": "2", "maps/quarry.pak": "1", "new.cfg": "2"}

SIDE_EFFECTS = (
    "image-update create",
    "image-update retry",
    "image-diff create",
    "image-diff retry",
    "image-diff reject",
    "image-version create",
)


def release(image_id: int = 501, description: str = "build 2", **options: Any) -> ImageRelease:
    """Return the release of a build that differs from the images."""
    return ImageRelease(image_id, 77, description, **{"source": SOURCE, **options})


class ReleaseWorld:
    """A simulator that uses the running loop's clock, with images 501, 502 and 503 and build machine 77.

    Args:
        policies: The simulator's policies.
        seed: The simulator's seed.
        image: Further arguments of `Simulator.add_image` for each image.
    """

    def __init__(self, policies: Policies | None = None, *, seed: int = 0, **image: Any) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.simulator = Simulator(clock=lambda: START + loop.time() - began, policies=policies, seed=seed)
        self.simulator.add_game(12, name="Ashfall")
        for image_id in (501, 502, 503):
            self.simulator.add_image(image_id, game_id=12, **{"files": FILES, "machines": 2, **image})
        self.simulator.add_build_machine(77)
        self.simulator.builds[SOURCE, "build 2"] = BUILD
        self.simulator.builds[SOURCE, "no change"] = FILES

    def client(self, transport: httpx.AsyncBaseTransport | None = None, **options: Any) -> ClanforgeClient:
        """Return a client without a rate limit."""
        transport = transport or httpx.ASGITransport(app=self.simulator.app)
        return self.simulator.client(transport=transport, max_rate=None, **options)

    def calls(self) -> dict[str, int]:
        """Return how often each call with a side effect got a successful response."""
        found: dict[str, int] = {}
        for request in self.simulator.requests:
            if request.route in SIDE_EFFECTS and request.status == httpx.codes.OK:
                found[request.route] = found.get(request.route, 0) + 1
        return found

    def runs_build(self, image_id: int = 501) -> bool:
        """Whether all machines of an image that are not disabled run the build."""
        image = self.simulator.image(image_id)
        running = {version for name, version in image.machines.items() if name not in image.disabled}
        return image.files == BUILD and running == {image.version}


class DyingTransport(httpx.AsyncBaseTransport):
    """Forwards requests until the process dies at one of them; then nothing is sent or received any more.

    Args:
        app: The server.
        dies_at: The number of the request at which it dies, from 1; 0: never.
        is_answered: Whether the server still receives that request.

    Attributes:
        paths: The paths of the requests.
        died: Set once the process has died.
    """

    def __init__(self, app: Any, dies_at: int, *, is_answered: bool) -> None:
        self._inner = httpx.ASGITransport(app=app)
        self._dies_at = dies_at
        self._is_answered = is_answered
        self.paths: list[str] = []
        self.died = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Respond to a request, or never return."""
        self.paths.append(request.url.path)
        is_last = len(self.paths) == self._dies_at
        if is_last and not self._is_answered:
            self.died.set()
        if not self.died.is_set():
            response = await self._inner.handle_async_request(request)
            if not is_last:
                return response
            self.died.set()
        await asyncio.Event().wait()
        raise AssertionError


async def run_until_death(
    world: ReleaseWorld,
    work: Callable[[Releaser], Coroutine[Any, Any, T]],
    dies_at: int,
    *,
    is_answered: bool,
    **options: Any,
) -> tuple[T | None, ReleaseToken | None, list[str]]:
    """Run a process with a releaser until it ends or dies.

    Args:
        world: The world.
        work: The work of the process.
        dies_at: As for `DyingTransport`.
        is_answered: As for `DyingTransport`.
        **options: Arguments of the releaser.

    Returns:
        The result of the work, None if the process died; the last token in the journal; and the paths of the requests.
    """
    transport = DyingTransport(world.simulator.app, dies_at, is_answered=is_answered)
    journal: list[ReleaseToken] = []

    def keep(token: ReleaseToken) -> None:
        if not transport.died.is_set():
            journal.append(token)

    async def process() -> T:
        async with world.client(transport) as client, JobWatcher(client, interval=20.0) as watcher:
            return await work(Releaser(client, watcher=watcher, journal=keep, **options))

    running = asyncio.ensure_future(process())
    death = asyncio.ensure_future(transport.died.wait())
    await asyncio.wait({running, death}, return_when=asyncio.FIRST_COMPLETED)
    death.cancel()
    if transport.died.is_set():
        running.cancel()
    with suppress(asyncio.CancelledError):
        await death
    try:
        return await running, journal[-1] if journal else None, transport.paths
    except asyncio.CancelledError:
        return None, journal[-1] if journal else None, transport.paths
