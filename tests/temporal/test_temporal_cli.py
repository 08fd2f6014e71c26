"""``clanforge worker`` and ``clanforge watch --temporal``, each in its own process."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from support.temporal.dev_server import DevServer, free_port
from temporalio.client import Client

from clanforge_async import JobRef
from clanforge_async.cli import main
from clanforge_async.simulator import DEMO_ACCOUNT, Simulator, serve
from clanforge_async.temporal.rate_limit import _read

Process = asyncio.subprocess.Process


async def clanforge(*arguments: str, base_url: str) -> Process:
    """Start the command in another process."""
    environment = os.environ | {
        "CLANFORGE_ACCESS_KEY": DEMO_ACCOUNT.access_key,
        "CLANFORGE_SECRET_KEY": DEMO_ACCOUNT.secret_key,
        "CLANFORGE_ACCOUNT_SERVICE_ID": str(DEMO_ACCOUNT.account_service_id),
        "CLANFORGE_BASE_URL": base_url,
    }
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-m", "clanforge_async", *arguments]
    return await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=environment)


@asynccontextmanager
async def worker(server: DevServer, queue: str, base_url: str) -> AsyncGenerator[Process]:
    """Run ``clanforge worker``."""
    options = ("--temporal", server.address, "--task-queue", queue, "--max-rate", "25")
    process = await clanforge("worker", *options, base_url=base_url)
    try:
        assert process.stderr is not None
        assert (await process.stderr.readline()).decode() == f"polling for the task queue '{queue}' until Ctrl-C\n"
        yield process
        process.terminate()
        assert await process.wait() == 143
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_worker_and_a_watch_from_two_shells(server: DevServer, temporal: Client, queue: str) -> None:
    """A worker polls for a watch in another process, which shows the states and exits with the jobs' status."""
    simulator = Simulator()
    async with serve(simulator) as url, worker(server, queue, url):
        assert (await _read(temporal, queue))[0] == 25.0
        refs = [
            simulator.add_image_version(1, duration=1),
            simulator.add_image_version(2, duration=0, outcome="failed"),
        ]
        options = ("--temporal", server.address, "--task-queue", queue, "--timeout", "60")
        process = await clanforge("watch", *map(str, refs), *options, base_url=url)
        out, err = await process.communicate()
        assert process.returncode == 1, err
        assert b"image-version/1" in out
        assert b"image-version/2" in out


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--id", "release-42"), 2, "--id and --task-queue need --temporal"),
        (("--temporal", "127.0.0.1:1", "--interval", "5"), 2, "--interval and --outage-tolerance do not work with"),
        (("--temporal", "127.0.0.1:1", "--outage-tolerance", "5"), 2, "the workers have their own"),
        (("--temporal", "127.0.0.1:1", "--history", "runs.jsonl"), 2, "--history does not work with --temporal"),
        (("--temporal", "127.0.0.1:1", "--base-url", "http://127.0.0.1:1"), 2, "give them to clanforge worker"),
        (("--temporal", "127.0.0.1:1", "--account-service-id", "7"), 2, "give them to clanforge worker"),
        (("--temporal", f"127.0.0.1:{free_port()}"), 5, "cannot connect to Temporal at 127.0.0.1:"),
        (("--temporal", ""), 2, "--temporal is invalid: "),
    ],
)
async def test_wrong_options_and_a_missing_server(
    arguments: tuple[str, ...], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit status distinguishes invalid options from a server that does not respond."""
    ref = str(JobRef.image_version(1))
    # In a thread, since a command starts its own event loop.
    assert await asyncio.to_thread(main, ["watch", ref, *arguments]) == status
    assert message in capsys.readouterr().err


async def test_an_unusable_configuration_of_temporal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A profile that is missing in Temporal's own configuration is a usage error, and not a bug."""
    monkeypatch.setenv("TEMPORAL_PROFILE", "nowhere")
    ref = str(JobRef.image_version(1))
    assert await asyncio.to_thread(main, ["watch", ref, "--temporal", "127.0.0.1:1"]) == 2
    assert "Temporal's own configuration is invalid: Profile 'nowhere' not found" in capsys.readouterr().err


async def test_a_worker_without_its_server(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that cannot reach its Temporal server exits with the status of a network error."""
    monkeypatch.setenv("CLANFORGE_ACCESS_KEY", DEMO_ACCOUNT.access_key)
    monkeypatch.setenv("CLANFORGE_SECRET_KEY", DEMO_ACCOUNT.secret_key)
    monkeypatch.setenv("CLANFORGE_ACCOUNT_SERVICE_ID", str(DEMO_ACCOUNT.account_service_id))
    assert await asyncio.to_thread(main, ["worker", "--temporal", f"127.0.0.1:{free_port()}"]) == 5
    said = capsys.readouterr().err
    assert "cannot connect to Temporal at 127.0.0.1:" in said
    assert "check --temporal, and TEMPORAL_NAMESPACE" in said


async def test_a_missing_extra_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """If temporalio is not installed, the command names the extra to install."""
    monkeypatch.setitem(sys.modules, "clanforge_async.cli.worker", None)
    monkeypatch.delitem(sys.modules, "clanforge_async.cli.worker")
    monkeypatch.setitem(sys.modules, "temporalio.client", None)
    assert await asyncio.to_thread(main, ["worker", "--temporal", "127.0.0.1:1"]) == 2
    assert "pip install 'clanforge-async[cli,temporal]'" in capsys.readouterr().err
