"""A uvicorn server that runs within a block of the caller's, and whose apps can hang up on a client."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from clanforge_async.simulator.faults import DISCONNECT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import ASGIApp

_KEEP_ALIVE = 75
"""Seconds for which an idle connection is kept; uvicorn's 5 would close it between two polls."""


_PATIENCE = 0.05
"""Seconds that a client is given to read what was sent, once the server shuts down."""
_GRACE = 5
"""Seconds after which a request is cancelled that takes no notice of its client's leaving."""


class _Connection(H11Protocol):
    """A connection that its app can close in the middle of an answer, or without one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app_state = {**self.app_state, DISCONNECT: self.disconnect}
        self.access_log = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Have every answer sent at once.

        asyncio does so for listening sockets that it made itself. Without it a body waits until the client's system
        has acknowledged the headers, which takes 40 milliseconds.
        """
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)

    def disconnect(self) -> None:
        """Close the connection once what was sent is through."""
        # uvicorn takes an app that ends without an answer for broken, unless the client has gone.
        self.cycle.disconnected = True
        self.transport.close()


@asynccontextmanager
async def listen(app: ASGIApp, listening: socket.socket) -> AsyncGenerator[None]:
    """Serve an ASGI app on a bound socket while the block lasts; then close the socket and all connections."""
    config = uvicorn.Config(
        app,
        http=_Connection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_GRACE,
        workers=1,
    )
    config.load()
    server = uvicorn.Server(config)
    # What `Server.serve` does around these two is to take over the process's signals, and to look ten times a second
    # whether it is to end.
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listening])
    try:
        yield
    finally:
        await _shut_down(server, listening)


async def _shut_down(server: uvicorn.Server, listening: socket.socket) -> None:
    # uvicorn waits for requests in flight, and for a connection that was just being accepted, as long as they take.
    async with asyncio.TaskGroup() as group:
        shutdown = group.create_task(server.shutdown(sockets=[listening]))
        for connection in _open_connections(server):
            connection.transport.close()
        while not (await asyncio.wait({shutdown}, timeout=_PATIENCE))[0]:
            for connection in _open_connections(server):
                connection.transport.abort()


def _open_connections(server: uvicorn.Server) -> list[_Connection]:
    return cast("list[_Connection]", list(server.server_state.connections))
