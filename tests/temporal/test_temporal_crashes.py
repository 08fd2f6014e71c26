"""Watches survive crashes of workers, programs and the Temporal server. Histories can be replayed, without secrets."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from support.scripted_server import ScriptedServer
from support.temporal.dev_server import dev_server
from support.temporal.worker_process import CREDENTIALS, WorkerProcess, worker_process
from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Replayer

from clanforge_async import JobFailedError, JobRef, JobSquashedError, WatchResult
from clanforge_async.simulator import Outcome, Simulator, serve
from clanforge_async.temporal import ClanforgePlugin, TemporalWatcher

JOBS = 300
OUTCOMES: tuple[Outcome, ...] = ("completed", "failed", "squashed")
ERRORS = {"completed": type(None), "failed": JobFailedError, "squashed": JobSquashedError}
HISTORIES = {path: path.read_text() for path in sorted(Path(__file__).parent.glob("histories/*.json"))}


async def test_watches_outlive_everything(tmp_path: Path) -> None:
    """300 watches end correctly although their program ends, workers and the server are killed, and clocks are wrong.

    Three worker processes poll, whose clocks differ by hours. First one of them is killed, then the server, which
    restarts on its file; then all workers are replaced. Another submitter gets every result by the id.
    """
    rng, simulator, file = random.Random(15), Simulator(seed=15), tmp_path / "temporal.db"
    async with dev_server(file) as (server, temporal), serve(simulator) as url, AsyncExitStack() as stack:

        async def start_worker(ahead: float = 0.0) -> WorkerProcess:
            return await stack.enter_async_context(worker_process(server.address, "clanforge", url, ahead=ahead))

        first, *others = await asyncio.gather(start_worker(), start_worker(5 * 3600), start_worker(-3 * 3600))
        wanted: dict[JobRef, str] = {}
        for number in range(1, JOBS + 1):
            outcome = rng.choice(OUTCOMES)
            ref = simulator.add_image_version(number, duration=rng.uniform(2, 14), outcome=outcome)
            wanted[ref] = outcome
        submitted = asyncio.create_task(TemporalWatcher(temporal).wait_all(list(wanted), id="release-42"))
        results: list[WatchResult] = []

        async def collect() -> None:
            async for result in TemporalWatcher(temporal).resume("release-42"):
                results.append(result)
                ended.set()

        ended = asyncio.Event()
        await until_resumable(temporal)
        submitted.cancel()
        collecting = asyncio.create_task(collect())
        await until(results, ended, JOBS // 3)
        await first.kill()
        await until(results, ended, JOBS // 2)
        server.kill()
        restarted = await server.start()
        await asyncio.gather(start_worker(), start_worker(-86400), *(worker.stop() for worker in others))
        async with asyncio.timeout(120):
            await collecting
        assert {result.ref: type(result.error) for result in results} == {
            ref: ERRORS[outcome] for ref, outcome in wanted.items()
        }
        assert len(results) == JOBS
        assert max(result.elapsed for result in results) < 120
        again = [result async for result in TemporalWatcher(restarted).resume("release-42")]
        assert [result.ref for result in again] == [result.ref for result in results]
    stored = read_all(tmp_path)
    assert b"image-version/300" in stored
    assert not [secret for secret in CREDENTIALS if secret.encode() in stored]


def read_all(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def until(results: list[WatchResult], ended: asyncio.Event, count: int) -> None:
    """Wait until this number of watches has ended."""
    async with asyncio.timeout(120):
        while len(results) < count:
            ended.clear()
            await ended.wait()


async def until_resumable(temporal: Client) -> None:
    """Wait until the watches of the id have been started."""
    watcher = TemporalWatcher(temporal)
    async with asyncio.timeout(60):
        while True:
            try:
                await watcher._parts("release-42")
            except LookupError:
                await asyncio.sleep(0.1)
            else:
                return


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_stored_history_can_be_replayed(path: Path) -> None:
    """Workflows that an earlier release has started continue with this release: their histories can be replayed."""
    history = WorkflowHistory.from_json(path.stem, HISTORIES[path])
    async with ScriptedServer().client() as client:
        await Replayer(workflows=[], plugins=[ClanforgePlugin(client)]).replay_workflow(history)


async def test_there_are_histories() -> None:
    """There are histories of a watch that ended, of a cancelled watch, and of a brake."""
    assert [path.stem for path in HISTORIES] == ["brake", "cancelled", "ended"]
