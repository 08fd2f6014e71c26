"""The simulator as an ASGI app: from a request, through the faults, to the rules and back."""

from __future__ import annotations

import re
from email.utils import formatdate
from functools import partial
from typing import TYPE_CHECKING

from attrs import frozen
from starlette import routing
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response

from clanforge_async.simulator.errors import RequestRefusedError, envelope
from clanforge_async.simulator.faults import Dropped, SimulatedRequest
from clanforge_async.simulator.requests import Request, Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette import requests
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from clanforge_async.simulator.fault_injection import Faults
    from clanforge_async.simulator.faults import Handler
    from clanforge_async.simulator.jobs import JobStore
    from clanforge_async.simulator.requests import RequestLog

_ID = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


def make_app(jobs: JobStore, faults: Faults, log: RequestLog, clock: Callable[[], float]) -> Starlette:
    """Return an ASGI app that answers for a ledger's jobs, by a clock that tells Unix seconds."""
    desk = _Desk(jobs, faults, log, clock)
    routes = [routing.Route(route.path, partial(desk.answer, route)) for route in Route]
    for route in routes:
        # Starlette lets HEAD go with GET, and would so retry a diff for somebody who asks for headers.
        route.methods = {"GET"}
    app = Starlette(
        routes=routes,
        middleware=[Middleware(_Front, log=log, clock=clock)],
        exception_handlers={HTTPException: _no_such_call},
    )
    app.router.redirect_slashes = False
    return app


class _Front:
    """What every request passes: it counts those in flight, and dates answers by the server's clock."""

    def __init__(self, app: ASGIApp, log: RequestLog, clock: Callable[[], float]) -> None:
        self._app = app
        self._log = log
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["date"] = formatdate(int(self._clock()), usegmt=True)
            await send(message)

        with self._log.passing():
            await self._app(scope, receive, send_dated)


@frozen
class _Desk:
    """Where requests for jobs are answered."""

    _jobs: JobStore
    _faults: Faults
    _log: RequestLog
    _clock: Callable[[], float]

    async def answer(self, route: Route, request: requests.Request) -> Response:
        arrived = self._clock()
        visit = self._visit(route, request)
        faults = self._faults.matching(visit)
        earlier = any(fault.shows_earlier_run for fault in faults)
        handler: Handler = partial(self._act, visit, request, earlier=earlier)
        for fault in reversed(faults):
            handler = partial(fault.apply, visit, handler)
        answer = await handler()
        status = None if isinstance(answer, Dropped) else answer.status_code
        self._log.record(Request(at=arrived, route=route, id=visit.id, status=status))
        return answer

    def _visit(self, route: Route, request: requests.Request) -> SimulatedRequest:
        async def left() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass

        text = request.path_params["job_id"]
        job_id = int(text) if _ID.fullmatch(text) else None
        record = self._jobs.find(route.kind, job_id)
        since_retry = record.since_retry(self._clock()) if record else None
        return SimulatedRequest(route=route, id=job_id, clock=self._clock, since_retry=since_retry, disconnected=left)

    async def _act(self, visit: SimulatedRequest, request: requests.Request, *, earlier: bool) -> Response:
        try:
            body = self._jobs.answer(
                visit.route,
                visit.id,
                visit.clock(),
                authorization=request.headers.get("authorization"),
                parameters=request.query_params,
                earlier=earlier,
            )
        except RequestRefusedError as refusal:
            return JSONResponse(envelope(refusal.code, refusal.message), refusal.status)
        return JSONResponse(body)


async def _no_such_call(_request: requests.Request, error: Exception) -> Response:
    # Starlette's signature; it is registered for this exception alone.
    assert isinstance(error, HTTPException)  # noqa: S101
    return JSONResponse(envelope(error.status_code, error.detail), error.status_code, error.headers)
