"""The commands `clanforge worker` and `clanforge watch --temporal`, run in this process."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from support.temporal.dev_server import DevServer
from temporalio.client import Client

from clanforge_async import JobRef, TransportError
from clanforge_async.cli.output.select import OutputOptions
from clanforge_async.cli.parameters import ConnectionOptions
from clanforge_async.cli.temporal_parameters import TemporalOptions
from clanforge_async.cli.worker import watch, work
from clanforge_async.simulator import DEMO_ACCOUNT, Simulator, serve
from clanforge_async.temporal import TemporalWatcher
from clanforge_async.temporal.rate_limit import _read


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment variables for the simulated API."""
    monkeypatch.setenv("CLANFORGE_ACCESS_KEY", DEMO_ACCOUNT.access_key)
    monkeypatch.setenv("CLANFORGE_SECRET_KEY", DEMO_ACCOUNT.secret_key)
    monkeypatch.setenv("CLANFORGE_ACCOUNT_SERVICE_ID", str(DEMO_ACCOUNT.account_service_id))


@asynccontextmanager
async def working(
    simulator: Simulator, options: TemporalOptions, max_rate: float | None = None
) -> AsyncGenerator[asyncio.Task[int]]:
    """Run the worker's command until the end of the block."""
    async with serve(simulator) as url:
        task = asyncio.create_task(work(ConnectionOptions(base_url=url), options, max_rate))
        yield task
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until_printed(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Wait until stdout contains a text."""
    printed = ""
    async with asyncio.timeout(30):
        while text not in printed:
            await asyncio.sleep(0.05)
            printed += capsys.readouterr().out


def options_of(server: DevServer, queue: str, watch_id: str | None = None) -> TemporalOptions:
    return TemporalOptions(temporal=server.address, task_queue=queue, id=watch_id)


async def test_a_worker_polls_for_a_watch(
    server: DevServer, temporal: Client, queue: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A worker sets the budget and polls; a watch shows each change and returns the highest exit status."""
    simulator, options = Simulator(), options_of(server, queue)
    refs = [simulator.add_image_version(1, duration=2), simulator.add_image_version(2, duration=0, outcome="failed")]
    async with working(simulator, options, 25.0):
        assert await watch(refs, options, 60.0, OutputOptions(), fail_fast=False) == 1
        assert (await _read(temporal, queue))[0] == 25.0
    printed = capsys.readouterr()
    assert "image-version/1" in printed.out
    assert "image-version/2" in printed.out
    assert f"polling for the task queue {queue!r} until Ctrl-C" in printed.err


async def test_fail_fast_stops_at_the_first_failure(server: DevServer, queue: str) -> None:
    """With `--fail-fast` the watch ends while another job is still running."""
    simulator, options = Simulator(), options_of(server, queue)
    refs = [simulator.add_image_version(1, duration=900), simulator.add_image_version(2, duration=0, outcome="failed")]
    async with working(simulator, options):
        assert await watch(refs, options, None, OutputOptions(), fail_fast=True) == 1


@pytest.mark.parametrize("named", [False, True])
async def test_an_interrupted_watch_says_how_to_go_on(
    server: DevServer, temporal: Client, queue: str, capsys: pytest.CaptureFixture[str], named: bool
) -> None:
    """An interrupted watch with an id continues; one without an id is stopped, and its references are printed."""
    simulator, options = Simulator(), options_of(server, queue, queue if named else None)
    ref = simulator.add_image_version(1, duration=900)
    async with working(simulator, options):
        watching = asyncio.create_task(watch([ref], options, None, OutputOptions(), fail_fast=False))
        await until_printed("image-version/1", capsys)
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching
        said = capsys.readouterr().err
        if named:
            assert f"The watches with the id {queue!r} continue." in said
            await TemporalWatcher(temporal).cancel(queue)
        else:
            again = f"clanforge watch image-version/1 --temporal {server.address} --task-queue {queue}"
            assert f"Resume with: {again}" in said


class BrokenPipe(io.StringIO):
    """A stdout that was closed by its reader."""

    def write(self, _: str) -> int:
        raise BrokenPipeError


async def test_a_broken_pipe_ends_the_watch(
    server: DevServer, queue: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If stdout was closed, the watch ends with that error, and without advice on how to resume."""
    simulator, options = Simulator(), options_of(server, queue)
    ref = simulator.add_image_version(1, duration=900)
    async with working(simulator, options):
        monkeypatch.setattr(sys, "stdout", BrokenPipe())
        with pytest.raises(BrokenPipeError):
            await watch([ref], options, None, OutputOptions(), fail_fast=False)
    assert "Resume" not in capsys.readouterr().err


async def test_a_refusal_of_the_server_is_a_transport_error(
    server: DevServer, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown namespace is reported as refused by the server."""
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "nowhere")
    with pytest.raises(TransportError, match="the Temporal server refused the request: Namespace nowhere is not found"):
        await watch([JobRef.image_version(1)], options_of(server, queue), None, OutputOptions(), fail_fast=False)
    with pytest.raises(TransportError, match="the Temporal server refused the request: Namespace nowhere is not found"):
        await work(ConnectionOptions(), options_of(server, queue), None)
