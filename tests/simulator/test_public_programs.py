"""Programs like those that users run today: the results that they report, and the actual state."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from support.simulator.public_programs import EarlyBuildTool, LaterBuildTool, ProgramError, SignedProgram

from clanforge_async import JobKind
from clanforge_async.simulator import Drop, Policies, Simulator
from clanforge_async.testing import VirtualClock

FILES = {"bin/server": "1", "old.cfg": "1"}
BUILD = {"bin/server": "2", "old.cfg": "1"}
S3 = "s3://builds/server/"
STEAM = "steam://install/480/?beta=staging"


class World:
    """A simulator with three images and a build machine, and the lines that a program prints."""

    def __init__(self, clock: VirtualClock, *, lag: float = 10.0) -> None:
        self.clock = clock
        self.simulator = Simulator(clock=clock, policies=Policies(install_lag=lag))
        self.simulator.add_build_machine(77)
        self.lines: list[str] = []
        for source, description in ((S3, "1.2"), (STEAM, '"1.2"')):
            self.simulator.builds[source, description] = BUILD
            self.simulator.builds[source, description.replace("1.2", "same")] = FILES

    def add(self, image_id: int = 501, *, allocations: int = 0, last_full: bool = False) -> None:
        """Add an image."""
        self.simulator.add_image(
            image_id, game_id=12, files=FILES, machines=2, allocations=allocations, last_full=last_full
        )

    @property
    def transport(self) -> httpx.ASGITransport:
        """A transport to the simulator."""
        return httpx.ASGITransport(app=self.simulator.app)

    async def signed(self, version: str = "1.2", *, full: bool = False) -> None:
        """Run the program that signs its requests."""
        await SignedProgram(self.transport, self.clock, self.lines).run(501, version, full=full)

    async def early(self, *image_ids: int, build: str = "1.2") -> None:
        """Run the early build tool."""
        await EarlyBuildTool(self.transport, self.lines).run(image_ids or (501,), build)

    async def later(self, build: str = "1.2", *, full: bool = False) -> None:
        """Run the later build tool."""
        await LaterBuildTool(self.transport, self.lines).run(501, build, full=full)

    def running(self, image_id: int = 501) -> bool:
        """Whether all machines run the latest version, and that has the files of the build."""
        image = self.simulator.image(image_id)
        return image.files == BUILD and set(image.machines.values()) == {image.version}


@pytest.fixture
def world(clanforge_clock: VirtualClock) -> World:
    return World(clanforge_clock)


async def test_the_signed_program_waits_for_the_rollout(clanforge_clock: VirtualClock) -> None:
    """If installs are listed as soon as the version completes, the signed program is correct."""
    world = World(clanforge_clock, lag=0.0)
    world.add()
    await world.signed()
    assert world.lines == ["bin/server", "501 deployed"]
    assert world.running()
    assert world.simulator.image(501).game_build == "1.2"


async def test_no_install_is_not_the_end(world: World) -> None:
    """If installs are listed later, the signed program assumes that none is left, but no machine has the version."""
    world.add()
    await world.signed()
    assert world.lines[-1] == "501 deployed"
    assert not world.running()
    await asyncio.sleep(60)
    assert world.running()


async def test_both_build_tools_end_with_the_order(world: World) -> None:
    """The build tools report a version as deployed before it is packaged; two images share one build machine."""
    for image_id in (501, 502, 503):
        world.add(image_id)
    await world.early(502, 503)
    assert [world.simulator.image(image_id).files for image_id in (502, 503)] == [FILES, FILES]
    await world.later()
    assert world.simulator.image(501).files == FILES
    assert world.lines == ["502 deployed", "503 deployed", "501 deployed"]
    await asyncio.sleep(300)
    assert all(world.running(image_id) for image_id in (501, 502, 503))
    image = world.simulator.image(502)
    assert (image.is_full, image.game_build) == (True, '"1.2"')
    assert world.simulator.image(501).is_full is False


async def test_a_failed_update_is_released_by_one(world: World) -> None:
    """After a failed update, the signed program finds no difference, and releases the old files as a full version."""
    world.add()
    world.simulator.script("update", "running:30,failed")
    before = world.simulator.image(501).version
    await world.signed()
    assert world.lines == ["501 deployed"]
    image = world.simulator.image(501)
    assert (image.files, image.is_full, image.version == before) == (FILES, True, False)


async def test_a_failed_update_is_awaited_forever_by_another(world: World) -> None:
    """After a failed update, the early build tool polls forever."""
    world.add()
    world.simulator.script("update", "running:30,failed")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(600):
            await world.early()
    assert world.lines == []
    assert world.simulator.requests.count("image-update status") > 150


async def test_a_failed_update_leaves_a_lock(world: World) -> None:
    """After a failed update, the later build tool stops at the version, and its diff locks the image."""
    world.add()
    world.simulator.script("update", "running:30,failed")
    with pytest.raises(ProgramError, match="has no differences: full must be 1"):
        await world.later()
    lock = world.simulator.image(501).lock
    assert lock is not None
    assert lock.kind is JobKind.IMAGE_DIFF


async def test_a_colleagues_lock(world: World) -> None:
    """The signed program rejects a colleague's diff; the build tools stop, and one of them reports a release."""
    world.add()
    lock = world.simulator.lock(501)
    with pytest.raises(ProgramError, match=f"image locked by diffid: {lock.id}"):
        await world.later()
    await world.early()
    assert world.simulator.image(501).lock == lock
    assert world.lines == ["501 deployed"]
    await world.signed()
    assert world.simulator.image(501).lock is None
    assert world.simulator.requests.count("image-diff reject", id=lock.id) == 1
    assert world.simulator.image(501).files == BUILD


async def test_an_empty_diff(world: World) -> None:
    """Two programs release an empty diff as a full version; the third is refused and leaves its lock."""
    world.add()
    await world.early(build="same")
    await asyncio.sleep(100)
    assert (world.simulator.image(501).files, world.simulator.image(501).is_full) == (FILES, True)
    with pytest.raises(httpx.HTTPStatusError, match="400"):
        await world.signed("same")
    lock = world.simulator.image(501).lock
    assert lock is not None
    with pytest.raises(ProgramError, match=f"image locked by diffid: {lock.id}"):
        await world.later("same")


async def test_a_refused_version(world: World) -> None:
    """With active allocations the early build tool is refused and reports a release; the others force theirs."""
    world.add(allocations=3)
    await world.early()
    assert world.lines == ["501 deployed"]
    await asyncio.sleep(300)
    image = world.simulator.image(501)
    assert (image.files, image.lock is not None) == (FILES, True)
    await world.signed()
    assert world.simulator.image(501).files == BUILD


async def test_full_after_full(world: World) -> None:
    """A full version without differences after a full one is refused: the image stays locked."""
    world.add(last_full=True)
    with pytest.raises(ProgramError, match="full already"):
        await world.later("same", full=True)
    assert world.simulator.image(501).lock is not None


async def test_another_images_install_is_awaited_too(clanforge_clock: VirtualClock) -> None:
    """If another image's install never ends, the signed program waits forever, although its own have ended."""
    world = World(clanforge_clock, lag=0.0)
    world.add()
    world.add(502)
    world.simulator.script("install", "running", "running")
    await world.early(502)
    await asyncio.sleep(60)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(200):
            await world.signed()
    assert world.running()
    assert world.lines == ["502 deployed", "bin/server"]


async def test_a_lost_response_ends_a_program_with_a_lock(world: World) -> None:
    """No program repeats a call: one lost response after the diff was created ends it, and the image stays locked."""
    world.add()
    world.simulator.faults.add(Drop(), route="image-diff status", times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        await world.later()
    assert world.simulator.image(501).lock is not None
