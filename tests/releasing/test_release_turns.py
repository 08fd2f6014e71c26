"""Several releases of one releaser: which release waits for which."""

from __future__ import annotations

import asyncio

import pytest
from support.release_worlds import ReleaseWorld, release
from support.virtual_time import virtual_time

from clanforge_async import ConfigurationError, ReleaseError, ReleaseEvent, Releaser, ServerError
from clanforge_async.releases.installs import SharedInstalls
from clanforge_async.releases.turns import Turns
from clanforge_async.simulator import GatewayError


@virtual_time
async def test_releases_on_one_machine_take_turns() -> None:
    """On one build machine, the diff of a release is created before the next update, in the order given."""
    world = ReleaseWorld()
    async with world.client() as client, Releaser(client) as releaser:
        results = await releaser.run_all([release(502), release(501), release(503)])
    assert [(result.image_id, result.outcome) for result in results] == [
        (502, "released"),
        (501, "released"),
        (503, "released"),
    ]
    calls = [request for request in world.simulator.requests if request.route.value.endswith("create")]
    creates = [(str(call.route), call.id) for call in calls if "version" not in call.route.value]
    assert creates == [
        (f"image-{kind} create", image_id) for image_id in (502, 501, 503) for kind in ("update", "diff")
    ]
    assert all(world.runs_build(image_id) for image_id in (501, 502, 503))


@virtual_time
async def test_a_waiting_release_sends_nothing() -> None:
    """A release that waits for another reports this, and sends no request."""
    world = ReleaseWorld()
    events = list[ReleaseEvent]()
    async with world.client() as client, Releaser(client) as releaser:
        running = asyncio.ensure_future(releaser.run_all([release(501), release(502)], on_event=events.append))
        await asyncio.sleep(5.0)
        assert [event.kind for event in events if event.release.image_id == 502] == ["waiting"]
        assert {request.id for request in world.simulator.requests if request.route.value == "image options"} == {
            501,
            None,
        }
        await running


@virtual_time
async def test_one_release_of_an_image_at_a_time() -> None:
    """A second release of an image begins when the first one has ended."""
    world = ReleaseWorld()
    async with world.client() as client, Releaser(client) as releaser:
        results = await releaser.run_all([release(), release()])
    assert [result.outcome for result in results] == ["released", "unchanged"]


@virtual_time
async def test_a_release_that_fails_leaves_its_turn() -> None:
    """If a release fails, or is cancelled while it waits, it blocks no other, and no result is missing."""
    world = ReleaseWorld()
    world.simulator.script("update", "created,running:5,failed")
    async with world.client() as client, Releaser(client) as releaser:
        waiting = [asyncio.ensure_future(releaser.run(release(image_id))) for image_id in (501, 502, 503)]
        await asyncio.sleep(1.0)
        waiting[1].cancel()
        failed, cancelled, released = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(failed, ReleaseError)
    assert isinstance(cancelled, asyncio.CancelledError)
    assert not isinstance(released, BaseException)
    assert released.outcome == "released"


@virtual_time
async def test_run_all_never_raises_for_a_release() -> None:
    """Each release that fails is a result with its error."""
    world = ReleaseWorld()
    world.simulator.lock(501)
    async with world.client() as client, Releaser(client) as releaser:
        locked, declined, late = await releaser.run_all([release(501), release(502), release(503)], approve=False)
        assert [each.outcome for each in (locked, declined, late)] == ["failed", "rejected", "rejected"]
        with pytest.raises(ReleaseError) as raised:
            locked.unwrap()
        assert raised.value is locked.error
        (timed_out,) = await releaser.run_all([release(502, description="build 3")], timeout=5.0)
        assert timed_out.outcome == "failed"
        assert isinstance(timed_out.error, TimeoutError)
        assert await releaser.run_all([]) == []
        with pytest.raises(TypeError, match="release must be an ImageRelease, not int"):
            await releaser.run_all([501])  # type: ignore[list-item]
    async with world.client() as client, Releaser(client) as releaser:
        await client.aclose()
        (closed,) = await releaser.run_all([release(503)])
        assert isinstance(closed.error, ConfigurationError)


@virtual_time
async def test_the_list_of_installs_is_shared() -> None:
    """Releases that wait for their rollouts at the same time share a read of the account's installs, or its failure."""
    world = ReleaseWorld()
    async with world.client(max_retries=0) as client:
        installs = SharedInstalls(client.image_installs.list)
        assert await asyncio.gather(*(installs.read() for _ in range(5))) == [[]] * 5
        assert world.simulator.requests.count("image-install list") == 1
        await asyncio.sleep(5.0)
        await installs.read()
        assert world.simulator.requests.count("image-install list") == 2
        await asyncio.sleep(5.0)
        world.simulator.faults.add(GatewayError(502))
        failures = await asyncio.gather(*(installs.read() for _ in range(3)), return_exceptions=True)
        assert [type(failure) for failure in failures] == [ServerError] * 3
        assert len(set(map(id, failures))) == 3
        assert world.simulator.requests.count("image-install list") == 3


@virtual_time
async def test_turns_come_in_order() -> None:
    """A turn comes when all places before it have left, whether or not their turn came; leaving twice has no effect."""
    turns = Turns()
    first, second, third = (turns.join("machine") for _ in range(3))
    assert turns.join("another machine").has_come
    assert (first.has_come, second.has_come, third.has_come) == (True, False, False)
    second.leave()
    first.leave()
    first.leave()
    await third.wait()
    third.leave()
    assert turns.join("machine").has_come
