"""The example of releases on Temporal: killed workers, unknown outcomes, approvals, and shared build machines."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import shlex
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field, frozen
from starlette.responses import Response
from support.examples.example_process import EXAMPLES, environment, run
from support.temporal.dev_server import PROGRAM, DevServer, dev_server
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ActivityError, ApplicationError

from clanforge_async import ReleaseToken
from clanforge_async.simulator import DEMO_ACCOUNT, Fault, Handler, SimulatedRequest, Simulator, serve

SOURCE = "s3://key:se%2Fcret@ashfall-builds/server/"
SECRETS = (b"se%2Fcret", b"se%252Fcret", DEMO_ACCOUNT.access_key.encode(), DEMO_ACCOUNT.secret_key.encode())
FILES, BUILD = {"bin/server": "1"}, {"bin/server": "2"}
CREATES = ("image-update create", "image-diff create", "image-version create")

WORKERS = """
import asyncio, datetime, os, sys
import release_on_temporal as example
example.HEARTBEAT_TIMEOUT, example.PAUSE = datetime.timedelta(seconds=2), datetime.timedelta()
while True:
    if not (worker := os.fork()):
        asyncio.run(example.main(sys.argv[1]))
    print(worker, flush=True)
    os.wait()
"""
"""Program that runs the example's worker, with times short enough for a test, and restarts it each time it ends."""


@define
class World:
    """A simulated account with releases on Temporal.

    Attributes:
        simulator: The account.
        machine: Its build machine, which no other test uses.
        temporal: A client of Temporal.
        worker: The process of the current worker.
        starts: A semaphore, released at each start of a worker.
    """

    simulator: Simulator
    machine: int
    temporal: Client
    worker: int = 0
    starts: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(0))

    async def run_workers(self, env: dict[str, str]) -> None:
        """Run a worker until cancelled, and start a new one each time it ends."""
        command = [sys.executable, "-c", WORKERS, f"queue-of-{self.machine}"]
        process = await asyncio.create_subprocess_exec(
            *command, env=env, cwd=EXAMPLES, stdout=PIPE, start_new_session=True
        )
        try:
            assert process.stdout is not None
            async for line in process.stdout:
                self.worker = int(line)
                self.starts.release()
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    async def start(self, **options: Any) -> WorkflowHandle[Any, Any]:
        """Start a release."""
        release = {"image_id": 501, "machine_id": self.machine, "description": "2", "wait_for": "version", **options}
        number, queue = f"build-machine-{self.machine}", f"queue-of-{self.machine}"
        return await self.temporal.start_workflow("release-image", release, id=number, task_queue=queue)

    def calls(self) -> list[str]:
        """Return the calls with a side effect that were received."""
        routes = [request.route for request in self.simulator.requests]
        return [route for route in routes if route.endswith(("create", "retry", "reject"))]


@frozen
class EndWorker(Fault):
    """Ends the worker when the server has processed its request, so that the response is lost.

    Attributes:
        world: The world of the worker.
        signal: The signal that ends the worker: a kill, or a stop as for a deploy.
    """

    world: World
    signal: signal.Signals = signal.SIGKILL

    async def apply(self, request: SimulatedRequest, handler: Handler) -> Response:
        """Process the request, and end the worker."""
        response = await handler()
        os.kill(self.world.worker, self.signal)
        await request.disconnected()
        return response


def make_simulator(machine: int) -> Simulator:
    simulator = Simulator(speed=1000)
    simulator.add_image(501, game_id=12, files=FILES, machines=1)
    simulator.add_build_machine(machine)
    simulator.builds[SOURCE, "2"] = BUILD
    return simulator


@asynccontextmanager
async def world_on(server: DevServer, temporal: Client, machine: int) -> AsyncGenerator[World]:
    """Serve an account, and run a worker for its releases."""
    world = World(make_simulator(machine), machine, temporal)
    async with serve(world.simulator) as url:
        env = environment(CLANFORGE_BASE_URL=url, CLANFORGE_SOURCE_URL=SOURCE, TEMPORAL_ADDRESS=server.address)
        worker = asyncio.create_task(world.run_workers(env))
        try:
            async with asyncio.timeout(90):
                yield world
        finally:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)


async def answer(handle: WorkflowHandle[Any, Any], approved: bool) -> None:
    """Send the decision as soon as the diff is held; before that, it is refused."""
    while True:
        try:
            await handle.execute_update("answer", approved)
        except WorkflowUpdateFailedError:
            await asyncio.sleep(0.1)
        else:
            return


async def failure_of(handle: WorkflowHandle[Any, Any]) -> ApplicationError:
    """Return the reason why a release has failed."""
    with pytest.raises(WorkflowFailureError) as raised:
        await handle.result()
    cause = raised.value.cause
    error = cause.cause if isinstance(cause, ActivityError) else cause
    assert isinstance(error, ApplicationError)
    return error


def read_all(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_a_release_outlives_its_workers(tmp_path: Path) -> None:
    """If workers are killed or stopped between the calls of a release, each call is made once; no secret is stored."""
    async with dev_server(tmp_path / "temporal.db") as (server, temporal), world_on(server, temporal, 77) as world:
        faults = world.simulator.faults
        faults.add(EndWorker(world), route="image-update status", times=1)
        faults.add(EndWorker(world, signal.SIGINT), route="image-diff status", times=1)
        faults.add(EndWorker(world), route="image-version status", times=1)
        handle = await world.start()
        for _ in range(3):
            await world.starts.acquire()
        await answer(handle, approved=True)
        await world.starts.acquire()
        result = await handle.result()
        assert result["outcome"] == "released"
        assert ReleaseToken.parse(result["token"]).version is not None
        assert world.calls() == list(CREATES)
        assert world.simulator.image(501).files == BUILD
    stored = read_all(tmp_path)
    assert b"build-machine-77" in stored
    assert not [secret for secret in SECRETS if secret in stored]


async def test_a_call_in_doubt_is_not_made_again(server: DevServer, temporal: Client) -> None:
    """If a worker is killed before it gets a create's response, the release ends, and its token names that call."""
    async with world_on(server, temporal, 78) as world:
        world.simulator.faults.add(EndWorker(world), route="image-version create", times=1)
        handle = await world.start()
        await answer(handle, approved=True)
        error = await failure_of(handle)
        assert error.type == "ReleaseError"
        token = ReleaseToken.parse(error.message.rpartition("; token: ")[2])
        assert token.intent is not None
        assert token.intent.call == "version"
        assert world.calls() == list(CREATES)


async def test_a_declined_diff_is_rejected_and_a_late_worker_refused(server: DevServer, temporal: Client) -> None:
    """Disapproval rejects the diff; tokens of a worker that was silent for too long, and invalid input, are refused."""
    async with world_on(server, temporal, 79) as world:
        assert (await failure_of(await world.start(force="yes"))).type == "TypeError"
        handle = await world.start()
        other = await temporal.start_workflow("release-image", {"machine_id": 79}, id="79", task_queue="queue-of-79")
        assert (await failure_of(other)).message == "start it with the workflow id build-machine-79"
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await handle.execute_update("keep", args=[7, "release/1:501.79.0-0-0:"])
        assert "another worker has taken over" in str(refused.value.cause)
        await answer(handle, approved=False)
        assert (await failure_of(handle)).type == "ReleaseRejectedError"
        assert world.calls() == [*CREATES[:2], "image-diff reject"]
        assert world.simulator.image(501).lock is None


def documented_commands(program: str) -> list[list[str]]:
    """Return the arguments of each command at the top of the example that runs this program."""
    documented = str(ast.get_docstring(ast.parse((EXAMPLES / "release_on_temporal.py").read_text("utf-8"))))
    commands = re.findall(rf"^ +{program} (.+)$", documented, re.MULTILINE)
    return [shlex.split(command, comments=True) for command in commands]


@asynccontextmanager
async def running(*command: str, env: dict[str, str]) -> AsyncGenerator[Process]:
    """Run a program in the folder of examples, and kill it at the end of the block if it is still running."""
    process = await asyncio.create_subprocess_exec(*command, env=env, cwd=EXAMPLES)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_documented_commands_release_an_image(server: DevServer) -> None:
    """The commands at the top of the example start one release at a time and approve it; Ctrl-C stops the worker."""
    [work], [start, approve] = documented_commands("python"), documented_commands("temporal")
    simulator = make_simulator(77)
    simulator.builds[SOURCE, "build 1.4.2"] = BUILD
    async with serve(simulator) as url, asyncio.timeout(60):
        env = environment(CLANFORGE_BASE_URL=url, CLANFORGE_SOURCE_URL=SOURCE, TEMPORAL_ADDRESS=server.address)
        assert PROGRAM is not None
        async with running(sys.executable, *work, env=env) as worker:
            start[-1] = start[-1].replace("}", ', "wait_for": "version"}')  # a rollout would take longer
            started = await run(PROGRAM, *start, env=env)
            assert started.status == 0, started.err
            again = await run(PROGRAM, *start, env=env)
            assert again.status == 1
            assert "already" in again.err
            while (await run(PROGRAM, *approve, env=env)).status != 0:
                pass  # the diff is not known yet
            result = await run(PROGRAM, "workflow", "result", "--workflow-id", "build-machine-77", env=env)
            assert "released" in result.out
            worker.send_signal(signal.SIGINT)
            await worker.wait()  # its status may be a crash's: the SDK's threads race with the interpreter's end
    assert simulator.image(501).files == BUILD
