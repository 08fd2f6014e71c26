"""The simulator as an ASGI app: one endpoint for each `Route`, behind the injected faults."""

from __future__ import annotations

import re
from email.utils import formatdate
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import frozen
from starlette import routing
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response

from clanforge_async.simulator.auth import identify
from clanforge_async.simulator.errors import RequestRefusedError, envelope
from clanforge_async.simulator.faults import Dropped, SimulatedRequest
from clanforge_async.simulator.requests import Request, Route

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette import requests
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from clanforge_async.simulator.auth import Account
    from clanforge_async.simulator.fault_injection import Faults
    from clanforge_async.simulator.jobs import JobRecord, JobStore
    from clanforge_async.simulator.requests import RequestLog

_ID = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


@frozen
class _Call:
    """An authorized request: the input of an endpoint.

    Attributes:
        route: The call.
        job_id: The job id in its path; None if that is not an id.
        query: The query parameters.
        account: The caller's account.
        jobs: All jobs.
        now: The server's time, in Unix seconds.
        previous_run: Whether to show the run before the latest, if there is one.
    """

    route: Route
    job_id: int | None
    query: Mapping[str, str]
    account: Account
    jobs: JobStore
    now: float
    previous_run: bool

    def job(self) -> JobRecord:
        """Return the job that the path names, or raise as `JobStore.get`."""
        return self.jobs.get(self.route.kind, self.job_id, self.account)


def _retry_job(call: _Call) -> dict[str, Any]:
    job = call.job()
    job.retry(call.now)
    return job.to_payload(call.now, previous_run=call.previous_run)


def _job_status(call: _Call) -> dict[str, Any]:
    details = call.query.get("diff_info") == "1"
    # "success" is on nearly every documented page but that of the image diff retry.
    return call.job().to_payload(call.now, previous_run=call.previous_run, details=details) | {"success": True}


_EndpointFunction: TypeAlias = "Callable[[_Call], dict[str, Any]]"

_ENDPOINTS: dict[Route, _EndpointFunction] = {
    Route.IMAGE_DIFF_RETRY: _retry_job,
    Route.IMAGE_DIFF_STATUS: _job_status,
    Route.IMAGE_VERSION_STATUS: _job_status,
}


def make_app(jobs: JobStore, faults: Faults, log: RequestLog, clock: Callable[[], float]) -> Starlette:
    """Return an ASGI app that serves a store's jobs.

    Args:
        jobs: The jobs and the accounts that may read them.
        faults: The faults to inject.
        log: The log of requests.
        clock: Returns the server's time in Unix seconds.
    """
    app = Starlette(
        routes=[
            _starlette_route(_Endpoint(route, function, jobs, faults, log, clock))
            for route, function in _ENDPOINTS.items()
        ],
        middleware=[Middleware(_Middleware, log=log, clock=clock)],
        exception_handlers={HTTPException: _error_response},
    )
    app.router.redirect_slashes = False
    return app


def _starlette_route(endpoint: _Endpoint) -> routing.Route:
    route = routing.Route(endpoint.route.path, endpoint.handle)
    # Starlette adds HEAD to GET, and so would retry a diff if asked for the headers alone.
    route.methods = {"GET"}
    return route


class _Middleware:
    """Counts the requests in flight and dates each response by the server's clock."""

    def __init__(self, app: ASGIApp, log: RequestLog, clock: Callable[[], float]) -> None:
        self._app = app
        self._log = log
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["date"] = formatdate(int(self._clock()), usegmt=True)
            await send(message)

        with self._log.track_in_flight():
            await self._app(scope, receive, send_dated)


@frozen
class _Endpoint:
    """Answers the requests of one route, through the faults that apply to them."""

    route: Route
    _function: _EndpointFunction
    _jobs: JobStore
    _faults: Faults
    _log: RequestLog
    _clock: Callable[[], float]

    async def handle(self, request: requests.Request) -> Response:
        """Answer and log a request."""
        arrived_at = self._clock()
        text = request.path_params.get("job_id", "")
        job_id = int(text) if _ID.fullmatch(text) else None
        simulated = self._simulated_request(request, job_id)
        response = await self._faults.apply(simulated, partial(self._respond, request, job_id))
        status = None if isinstance(response, Dropped) else response.status_code
        self._log.record(Request(at=arrived_at, route=self.route, id=job_id, status=status))
        return response

    def _simulated_request(self, request: requests.Request, job_id: int | None) -> SimulatedRequest:
        async def disconnected() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass

        job = None if job_id is None else self._jobs.find(self.route.kind, job_id)
        return SimulatedRequest(
            route=self.route,
            id=job_id,
            clock=self._clock,
            since_retry=job.since_retry(self._clock()) if job else None,
            disconnected=disconnected,
        )

    async def _respond(self, request: requests.Request, job_id: int | None, previous_run: bool) -> Response:
        query = request.query_params
        authorization = request.headers.get("authorization")
        try:
            account = identify(self._jobs.accounts, authorization, query.get("accountserviceid"))
            call = _Call(self.route, job_id, query, account, self._jobs, self._clock(), previous_run)
            return JSONResponse(self._function(call))
        except RequestRefusedError as error:
            return JSONResponse(envelope(error.code, error.message), error.status)


async def _error_response(_request: requests.Request, error: Exception) -> Response:
    # Starlette's signature; it is registered for this exception alone.
    assert isinstance(error, HTTPException)  # noqa: S101
    return JSONResponse(envelope(error.status_code, error.detail), error.status_code, error.headers)
