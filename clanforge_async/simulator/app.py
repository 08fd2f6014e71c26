"""The simulator as an ASGI app: one endpoint for each `Route`, with the injected faults around it."""

from __future__ import annotations

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

from clanforge_async.simulator import calls, image_calls
from clanforge_async.simulator.auth import identify
from clanforge_async.simulator.calls import Call
from clanforge_async.simulator.errors import RequestRefusedError, envelope
from clanforge_async.simulator.faults import Dropped, SimulatedRequest
from clanforge_async.simulator.parameters import Parameters, parse_id
from clanforge_async.simulator.requests import Request, Route
from clanforge_async.simulator.signature import SignedRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette import requests
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from clanforge_async.simulator.calls import EndpointFunction
    from clanforge_async.simulator.fault_injection import Faults
    from clanforge_async.simulator.jobs import JobStore
    from clanforge_async.simulator.pipeline import Pipeline
    from clanforge_async.simulator.requests import RequestLog

_JSON = "application/json"

_ENDPOINTS: dict[Route, EndpointFunction] = {
    Route.IMAGE_OPTIONS: image_calls.image_options,
    Route.IMAGE_SET_ACTIVE: image_calls.set_active,
    Route.IMAGE_ROLLOUT: image_calls.rollout,
    Route.IMAGE_UPDATE_CREATE: calls.create_update,
    Route.IMAGE_UPDATE_STATUS: calls.update_status,
    Route.IMAGE_UPDATE_RETRY: calls.retry_update,
    Route.IMAGE_DIFF_CREATE: calls.create_diff,
    Route.IMAGE_DIFF_STATUS: calls.job_status,
    Route.IMAGE_DIFF_RETRY: calls.retry_diff,
    Route.IMAGE_DIFF_REJECT: calls.reject_diff,
    Route.IMAGE_VERSION_CREATE: calls.create_version,
    Route.IMAGE_VERSION_STATUS: calls.job_status,
    Route.IMAGE_INSTALL_LIST: calls.list_installs,
    Route.IMAGE_INSTALL_QUEUE: calls.queue_install,
}


def make_app(
    jobs: JobStore, pipeline: Pipeline, faults: Faults, log: RequestLog, clock: Callable[[], float]
) -> Starlette:
    """Return an ASGI app that serves a store's jobs, and a pipeline that adds to them.

    Args:
        jobs: The jobs and the accounts that may read them.
        pipeline: The games, images and build machines.
        faults: The faults to inject.
        log: The log of requests.
        clock: Returns the server's time in Unix seconds.
    """
    app = Starlette(
        routes=[
            _starlette_route(path, _Endpoint(route, function, jobs, pipeline, faults, log, clock))
            for route, function in _ENDPOINTS.items()
            for path in (route.path, route.query_path)
            if path is not None
        ],
        middleware=[Middleware(_Middleware, log=log, clock=clock)],
        exception_handlers={HTTPException: _error_response},
    )
    app.router.redirect_slashes = False
    return app


def _starlette_route(path: str, endpoint: _Endpoint) -> routing.Route:
    route = routing.Route(path, endpoint.handle)
    # Starlette adds HEAD to GET, so a HEAD request would retry a diff.
    route.methods = {"GET"}
    return route


class _Middleware:
    """Counts the requests in flight, and adds a ``Date`` header with the server's time to each response."""

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
    """Responds to the requests of one route, and applies the faults that match them."""

    route: Route
    _function: EndpointFunction
    _jobs: JobStore
    _pipeline: Pipeline
    _faults: Faults
    _log: RequestLog
    _clock: Callable[[], float]

    async def handle(self, request: requests.Request) -> Response:
        """Respond to a request and log it."""
        arrived_at = self._clock()
        target = self._id_of(request)
        response = await self._faults.apply(
            self._simulated_request(request, target), partial(self._respond, request, target)
        )
        status = None if isinstance(response, Dropped) else response.status_code
        self._log.record(Request(at=arrived_at, route=self.route, id=target, status=status))
        return response

    def _id_of(self, request: requests.Request) -> int | None:
        parameter = self.route.id_parameter
        in_query = None if parameter is None else request.query_params.get(parameter)
        return parse_id(request.path_params.get("id", in_query))

    def _simulated_request(self, request: requests.Request, target: int | None) -> SimulatedRequest:
        async def disconnected() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass

        job = None if self.route.kind is None else self._jobs.find(self.route.kind, target)
        return SimulatedRequest(
            route=self.route,
            id=target,
            clock=self._clock,
            since_retry=job.since_retry(self._clock()) if job else None,
            disconnected=disconnected,
        )

    async def _respond(self, request: requests.Request, target: int | None, previous_run: bool) -> Response:
        now = self._clock()
        self._pipeline.advance(now)
        try:
            content = self._function(self._call(request, target, now, previous_run))
        except RequestRefusedError as error:
            return JSONResponse(envelope(error.code, error.message), error.status)
        return Response(content, media_type=_JSON) if isinstance(content, bytes) else JSONResponse(content)

    def _call(self, request: requests.Request, target: int | None, now: float, previous_run: bool) -> Call:
        signed = SignedRequest(path=request.url.path, query=request.url.query, headers=request.headers)
        account_service_id = request.path_params.get("account_service_id", request.query_params.get("accountserviceid"))
        account = identify(self._jobs.accounts, signed, account_service_id, now)
        parameters = Parameters(request.query_params)
        if request.url.path == self.route.query_path:
            target = parameters.id(str(self.route.id_parameter))
        return Call(
            route=self.route,
            id=target,
            parameters=parameters,
            account=account,
            has_token=signed.scheme == "bearer",
            jobs=self._jobs,
            pipeline=self._pipeline,
            now=now,
            previous_run=previous_run,
        )


async def _error_response(_request: requests.Request, error: Exception) -> Response:
    # Starlette requires this signature; the handler is registered for this exception only.
    assert isinstance(error, HTTPException)  # noqa: S101
    return JSONResponse(envelope(error.status_code, error.detail), error.status_code, error.headers)
