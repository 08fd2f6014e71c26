"""The service's four endpoints, as an ASGI app."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from attrs import asdict
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from clanforge_async import JobRef

from .board import Board
from .watches import Watches, watching

PAGE = Path(__file__).with_name("page.html")

HEARTBEAT = 15.0
"""Seconds without a change after which a stream sends a comment, to keep proxies and detect closed connections."""


def make_app(database: Path, board: Board) -> Starlette:
    """Return the app; closing the board ends its open streams."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        async with watching(database, board) as watches:
            app.state.watches = watches
            yield

    async def show_list(_request: Request) -> Response:
        _, rows = board.since(0)
        return JSONResponse([asdict(row) for row in rows])

    async def show_events(_request: Request) -> Response:
        return StreamingResponse(events(board), headers={"Cache-Control": "no-store"}, media_type="text/event-stream")

    routes = [
        Route("/", show_page),
        Route("/watches", start_watches, methods=["POST"]),
        Route("/watches", show_list),
        Route("/events", show_events),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


async def show_page(_request: Request) -> Response:
    return FileResponse(PAGE)


async def start_watches(request: Request) -> Response:
    # A page of another site can post a form here, but can post JSON only with permission (CORS).
    if not request.headers.get("content-type", "").startswith("application/json"):
        return JSONResponse({"error": "expected application/json"}, 415)
    try:
        refs = parse_refs(await request.json())
    except (TypeError, ValueError) as error:
        return JSONResponse({"error": str(error)}, 400)
    watches: Watches = request.app.state.watches
    for ref in refs:
        watches.start(ref)
    return JSONResponse([str(ref) for ref in refs], 202)


def parse_refs(body: Any) -> list[JobRef]:
    """Return the references in a request's body.

    Raises:
        TypeError: The body is not a list of strings.
        ValueError: One of the strings is not a reference.
    """
    if not isinstance(body, list):
        msg = "expected a list of references"
        raise TypeError(msg)
    return [JobRef.parse(text) for text in cast("list[str]", body)]


async def events(board: Board) -> AsyncGenerator[str]:
    """Yield server-sent events: all rows, then those that change."""
    yield "retry: 1000\n\n"  # milliseconds until the browser reconnects
    kind, seen = "snapshot", 0
    while not board.closed:
        seen, rows = board.since(seen)
        yield f"event: {kind}\ndata: {json.dumps([asdict(row) for row in rows])}\n\n"
        kind = "update"
        while not await board.changed(seen, within=HEARTBEAT):
            yield ": nothing new\n\n"
