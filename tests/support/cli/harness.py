"""Helpers for tests of the command line: results, servers and faults."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Self

from attrs import frozen
from starlette.responses import JSONResponse, Response

from clanforge_async.simulator import Fault, Handler, SimulatedRequest, Simulator, serve

Clanforge = Callable[..., "Finished"]
Spawn = Callable[..., "subprocess.Popen[str]"]


@frozen
class Finished:
    """Exit status and output of a finished ``clanforge`` command."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


class Servers:
    """Serves simulators in a thread, since commands need the main thread for signals."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._running: list[Future[None]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._running:
            server.result(timeout=5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @contextmanager
    def serving(self, simulator: Simulator) -> Generator[str]:
        """Serve a simulator within the block; the server's shutdown is only awaited at the end of all tests."""
        address, ending = Future[str](), Future[None]()
        self._running.append(asyncio.run_coroutine_threadsafe(_serve(simulator, address, ending), self._loop))
        try:
            yield address.result(timeout=5)
        finally:
            ending.set_result(None)


async def _serve(simulator: Simulator, address: Future[str], ending: Future[None]) -> None:
    async with serve(simulator) as base_url:
        address.set_result(base_url)
        await asyncio.wrap_future(ending)


@frozen
class OverrideFields(Fault):
    """Overrides fields of the response, so that the output does not depend on the time."""

    fields: dict[str, Any]

    @classmethod
    def running(cls, progress: int) -> Self:
        return cls({"jobstateid": 4, "jobstatename": "Running", "jobprogress": progress, "jobeta": 1_900_000_000})

    async def apply(self, request: SimulatedRequest, handler: Handler) -> Response:  # noqa: ARG002
        response = await handler()
        return JSONResponse(json.loads(bytes(response.body)) | self.fields, response.status_code)


@frozen
class CallFirst(Fault):
    """Calls a function before the request is processed."""

    callback: Callable[[], object]
    conclusive = False

    async def apply(self, request: SimulatedRequest, handler: Handler) -> Response:  # noqa: ARG002
        self.callback()
        return await handler()


@frozen
class CallAndHang(Fault):
    """Calls a function while a request is in flight, and never responds."""

    callback: Callable[[], object]

    async def apply(self, request: SimulatedRequest, handler: Handler) -> Response:
        await handler()
        self.callback()
        await request.disconnected()
        return Response()
