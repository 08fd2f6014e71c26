"""The SDK releases builds through the simulated pipeline, whatever the policy, the quirks and the credentials."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.simulator.calling import FakeClock

from clanforge_async import ClanforgeClient, JobWatcher
from clanforge_async.simulator import DEMO_ACCOUNT, Account, Policies, Route, Simulator, serve
from clanforge_async.testing import VirtualClock

SOURCE = "s3://key:se%2Fcret@bucket/builds/"
FILES, BUILD = {"bin/server": "1"}, {"bin/server": "2"}
TOKEN = Account(account_service_id=1234, token="demo-token")
POLICIES = {
    "defaults": Policies(),
    "lock until completed": Policies(lock_ends="completed"),
    "manual installs": Policies(omitted_install_at="manual"),
    "empty is full": Policies(empty_diff="full"),
    "no lag": Policies(install_lag=0.0),
    "no lock by updates": Policies(lock_by_update=False),
}


def add_pipeline(simulator: Simulator) -> Simulator:
    """Add an image, a build machine and a build."""
    simulator.add_build_machine(77)
    simulator.add_image(501, game_id=12, files=FILES, machines=4, mirrors=1)
    simulator.builds[SOURCE, "build 2"] = BUILD
    return simulator


@pytest.mark.parametrize("account", [DEMO_ACCOUNT, TOKEN], ids=["keys", "token"])
@pytest.mark.parametrize("policy", POLICIES)
async def test_a_release_under_every_policy(clanforge_clock: VirtualClock, policy: str, account: Account) -> None:
    """With every policy, with quirks and with both kinds of credentials, a release reaches all machines."""
    policies = POLICIES[policy]
    simulator = add_pipeline(
        Simulator(seed=len(policy), clock=clanforge_clock, policies=policies, quirks=True, accounts=[account])
    )
    async with simulator.client() as client, JobWatcher(client) as watcher:
        assert (await client.images.options(501)).lock is None
        update = await watcher.wait(await client.image_updates.create(501, 77, "build 2", SOURCE))
        diff = await watcher.wait(await client.image_diffs.create(501, 77))
        assert (update.kind, set(diff.modified)) == ("image-update", {"bin/server"})
        lock = (await client.images.options(501)).lock
        assert (lock, simulator.image(501).lock) == (diff.ref, diff.ref)
        version = await watcher.wait(await client.image_versions.create(diff.id, restart=True, install_at=None))
        await asyncio.sleep(policies.install_lag)
        installs = await client.image_installs.list(image_version_id=version.id)
        assert len(installs) == 5
        for install in installs if policies.omitted_install_at == "manual" else ():
            await client.image_installs.queue(install)
        while (rollout := await client.images.rollout(501, include_details=True)).pending:  # noqa: ASYNC110 - a poll
            await asyncio.sleep(5)
    assert (rollout.completed, rollout.failed, len(rollout.fleets)) == (4, 0, 1)
    image = simulator.image(501)
    assert (image.files, set(image.machines.values())) == (BUILD, {version.id})


@pytest.mark.parametrize("account", [DEMO_ACCOUNT, TOKEN], ids=["keys", "token"])
async def test_every_call_over_a_socket(account: Account) -> None:
    """Each of the fourteen calls works over a real socket, with keys and with a token."""
    clock = FakeClock()
    simulator = add_pipeline(Simulator(clock=clock, accounts=[account], policies=Policies(omitted_install_at="manual")))
    simulator.script("update", "running:5,failed")

    def finish(job: Any) -> int:
        clock.now = simulator.ended_at(job)
        return int(job.id)

    async with serve(simulator) as base_url, simulator.client(transport=None, base_url=base_url) as client:
        await drive(client, finish, clock)
    assert {request.route for request in simulator.requests} == set(Route)
    assert simulator.image(501).files == BUILD


async def drive(client: ClanforgeClient, finish: Any, clock: FakeClock) -> None:
    """Make each call once, on the way from a build to an install."""
    assert (await client.images.set_active(501, active=False)).active is False
    update = await client.image_updates.create(501, 77, "build 2", SOURCE)
    finish(update)
    assert (await client.image_updates.status(update.id)).is_failed
    finish(await client.image_updates.retry(update.id))
    rejected = await client.image_diffs.create(501, 77)
    finish(rejected)
    assert (await client.image_diffs.status(rejected.id)).is_empty is False
    assert (await client.image_diffs.reject(rejected.id, reinstall=False)).reinstall is None
    diff = await client.image_diffs.create(501, 77)
    finish(diff)
    finish(await client.image_diffs.retry(diff.id))
    version = await client.image_versions.create(diff.id, restart=True, install_at=None)
    finish(version)
    assert (await client.image_versions.status(version.id)).is_completed
    clock.advance(10)
    mirror, *installs = await client.image_installs.list()
    assert (await client.image_installs.queue(mirror)).mirror_id
    assert (await client.image_installs.queue(installs[0])).squashed == 0
    assert (await client.images.rollout(501)).pending == 4
    assert (await client.images.options()).images == {}
