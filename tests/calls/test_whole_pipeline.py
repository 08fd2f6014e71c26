"""All calls over a real socket, and the requests of one release step by step; ``pytest -s`` prints them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import groupby
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send
from support.image_answers import GAME, IMAGE, MACHINE

from clanforge_async import (
    AccessKeyAuth,
    BearerTokenAuth,
    ClanforgeClient,
    ConfigurationError,
    Image,
    JobRef,
    JobWatcher,
    S3Source,
)
from clanforge_async.simulator import DEMO_ACCOUNT, Policies, Route, Simulator, serve

SOURCE = S3Source("bucket", "server", "KEY", "se/cr%et")
SENT_SOURCE = "s3%3A%2F%2FKEY%3Ase%252Fcr%2525et%40bucket%2Fserver%2F"
AUTHS: dict[str, Any] = {
    "basic": AccessKeyAuth(DEMO_ACCOUNT.access_key, DEMO_ACCOUNT.secret_key),
    "bearer": BearerTokenAuth(DEMO_ACCOUNT.token),
}
FAST = 1e6
"""Speed at which every job of the simulator has ended before the next request arrives."""

EXPECTED = f"""\
/cfp/v1/image/options?accountserviceid=1234
/cfp/v1/image/options?accountserviceid=1234&gameid=12&imageid=501
/cfp/v1/imageupdate/create?accountserviceid=1234&imageid=501&machineid=77&desc=build%202&url={SENT_SOURCE}
/cfp/v1/imageupdate/UPDATE/status?accountserviceid=1234
/cfp/v1/imagediff/create?accountserviceid=1234&imageid=501&machineid=77
/cfp/v1/imagediff/DIFF/status?accountserviceid=1234
/cfp/v1/imageversion/create?accountserviceid=1234&diffid=DIFF&restart=1&game_build=2&install_at=INSTALL_AT
/cfp/v1/imageversion/VERSION/status?accountserviceid=1234
/cfp/v2/project/1234/image/501/status
/cfp/v1/imageinstall/status?accountserviceid=1234
"""
"""The requests of one release, each that repeats once."""


class Recorder:
    """Records path and query of each request to an app, byte for byte."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.targets: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            query = scope["query_string"].decode()
            self.targets.append(scope["raw_path"].decode() + (query and f"?{query}"))
        await self._app(scope, receive, send)


@asynccontextmanager
async def serving(auth: str, **options: Any) -> AsyncIterator[tuple[ClanforgeClient, Simulator, Recorder]]:
    """Serve a simulator with an image on a socket, and yield it with a client."""
    simulator = Simulator(speed=FAST, **options)
    simulator.add_build_machine(MACHINE)
    simulator.add_image(IMAGE, game_id=GAME, machines=5)
    simulator.app = recorder = Recorder(simulator.app)
    account = DEMO_ACCOUNT.account_service_id
    async with (
        serve(simulator) as url,
        ClanforgeClient(AUTHS[auth], account_service_id=account, base_url=url) as client,
    ):
        yield client, simulator, recorder


@pytest.mark.parametrize("auth", AUTHS)
async def test_every_call_over_a_socket(auth: str) -> None:
    """Each of the fourteen calls succeeds against a real server, with both kinds of credentials."""
    policies = Policies(omitted_install_at="manual")
    async with serving(auth, policies=policies) as (client, simulator, _), JobWatcher(client, interval=0.01) as watcher:
        assert (await client.images.options(IMAGE)).game_id == GAME
        assert isinstance(await client.images.set_active(IMAGE, False), Image)
        assert simulator.image(IMAGE).active is False
        assert (await client.images.rollout(IMAGE, True)).completed == 5
        update = await client.image_updates.create(IMAGE, MACHINE, "build 1", SOURCE)
        await client.image_updates.status(update.update_id)
        await watcher.wait(await client.image_updates.retry(update.update_id))
        rejected = await client.image_diffs.create(IMAGE, MACHINE)
        assert (await client.images.options(IMAGE)).lock == JobRef.image_diff(rejected.diff_id)
        await watcher.wait(rejected)
        await watcher.wait(await client.image_diffs.retry(rejected.diff_id))
        rejection = await client.image_diffs.reject(rejected.diff_id, reinstall=False)
        assert rejection.diff_id == rejected.diff_id
        diff = await client.image_diffs.create(IMAGE, MACHINE)
        await watcher.wait(diff)
        assert (await client.image_diffs.status(diff.diff_id, include_details=True)).is_empty is False
        version = await client.image_versions.create(diff.diff_id, restart=True, install_at=None)
        await watcher.wait(version)
        installs = await client.image_installs.list(image_version_id=version.image_version_id)
        assert len(installs) == 5
        queued = await client.image_installs.queue(installs[0])
        assert queued.machine_job_id is not None
        assert {request.route for request in simulator.requests} == set(Route)
        assert {request.status for request in simulator.requests} == {200}


async def test_a_token_needs_an_account_only_for_the_rollout() -> None:
    """With a token and no account service id, all calls except the rollout work, and send no id."""
    async with serving("bearer") as (with_account, _, recorder):
        url = str(with_account._config.url)
        async with ClanforgeClient(AUTHS["bearer"], base_url=url) as client:
            assert (await client.images.options(IMAGE)).game_id == GAME
            update = await client.image_updates.create(IMAGE, MACHINE, "build 1", SOURCE)
            await client.image_updates.status(update.update_id)
            with pytest.raises(ConfigurationError, match="account_service_id"):
                await client.images.rollout(IMAGE)
        assert not any("accountserviceid" in target for target in recorder.targets)
        assert len(recorder.targets) == 4


@pytest.mark.parametrize("auth", AUTHS)
async def test_the_requests_of_a_release_step_by_step(auth: str) -> None:
    """A release consists of ten different requests: each create once, each status until its job has ended."""
    async with serving(auth) as (client, simulator, recorder), JobWatcher(client, interval=0.01) as watcher:
        assert (await client.images.options(IMAGE)).lock is None
        update = await watcher.wait(await client.image_updates.create(IMAGE, MACHINE, "build 2", SOURCE))
        diff = await watcher.wait(await client.image_diffs.create(IMAGE, MACHINE))
        created = await client.image_versions.create(diff.diff_id, restart=True, game_build="2")
        version = await watcher.wait(created)
        while (await client.images.rollout(IMAGE)).pending:
            pass
        while await client.image_installs.list(image_version_id=version.image_version_id):
            pass
        image = simulator.image(IMAGE)
    assert set(image.machines.values()) == {version.image_version_id}
    names = {update.id: "UPDATE", diff.id: "DIFF", version.id: "VERSION"}
    text = re.sub(r"(?<=[/=])[0-9]+", lambda match: names.get(int(match[0]), match[0]), "\n".join(recorder.targets))
    requests = re.sub(r"install_at=[0-9]+", "install_at=SECOND", text).splitlines()
    listed = "\n".join(target for target, _ in groupby(requests)) + "\n"
    print(f"\n{auth}:\n{listed}")  # noqa: T201 - to be shown by pytest -s
    assert listed == EXPECTED.replace("INSTALL_AT", "NOW%28%29" if auth == "basic" else "SECOND")
    assert sum("/create" in target for target in recorder.targets) == 3
