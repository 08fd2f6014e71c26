"""The commands of the guide to the image pipeline work after the Python code above them."""

from __future__ import annotations

import asyncio
import shlex

import pytest
from support.cli.harness import Servers
from support.documents import Document

from clanforge_async import JobWatcher
from clanforge_async.cli import main
from clanforge_async.simulator import DEMO_ACCOUNT, Policies, Simulator, add_demo_pipeline

GUIDE = Document("docs/pipeline.md")
REJECTED_ALREADY = "clanforge image-diff reject 218005 --reinstall --image 502"


async def release(simulator: Simulator) -> None:
    """Follow the guide up to the version, whose installs wait; the diff that it rejects stays open."""
    async with simulator.client() as client, JobWatcher(client, interval=0.02) as watcher:
        await watcher.wait(await client.image_updates.create(501, 77, "build 1.4.2"))
        diff = await watcher.wait(await client.image_diffs.create(501, 77))
        await watcher.wait(await client.image_diffs.create(502, 77))
        await watcher.wait(await client.image_versions.create(diff.id, restart=True, install_at=None))


def test_every_command_of_the_guide_works(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command succeeds with the guide's IDs, in order; only the second rejection of one diff is refused."""
    simulator = Simulator(speed=5000, policies=Policies(omitted_install_at="manual", install_lag=0))
    add_demo_pipeline(simulator)
    asyncio.run(release(simulator))
    monkeypatch.delenv("CLANFORGE_TOKEN", raising=False)
    monkeypatch.setenv("CLANFORGE_ACCESS_KEY", str(DEMO_ACCOUNT.access_key))
    monkeypatch.setenv("CLANFORGE_SECRET_KEY", str(DEMO_ACCOUNT.secret_key))
    monkeypatch.setenv("CLANFORGE_ACCOUNT_SERVICE_ID", str(DEMO_ACCOUNT.account_service_id))
    with Servers() as servers, servers.serving(simulator) as base_url:
        monkeypatch.setenv("CLANFORGE_BASE_URL", base_url)
        statuses = {command: main(shlex.split(command)[1:]) for command in GUIDE.commands}
    assert statuses == {command: 6 if command == REJECTED_ALREADY else 0 for command in GUIDE.commands}
    assert "has been rejected already" in capsys.readouterr().err
