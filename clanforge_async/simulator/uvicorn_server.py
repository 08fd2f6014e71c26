"""A uvicorn server that runs while a block lasts, and whose apps can close connections."""

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
"""Seconds until an idle connection is closed; uvicorn's 5 would close it between two polls."""
_READ_TIMEOUT = 0.05
"""Seconds for clients to read the data already sent when the server shuts down."""
_CANCEL_TIMEOUT = 5
"""Seconds after which requests whose client has disconnected are cancelled."""


class _Connection(H11Protocol):
    """A connection that the app can close in the middle of a response, or without a response."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app_state = {**self.app_state, DISCONNECT: self.disconnect}
        self.access_log = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Disable Nagle's algorithm.

        asyncio does so only for listening sockets that it created itself. Otherwise a body is delayed until the
        client's system acknowledges the headers, which takes 40 milliseconds.
        """
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)

    def disconnect(self) -> None:
        """Close the connection once all data is sent."""
        # uvicorn logs an error for an app that ends without a response, unless the client has disconnected.
        self.cycle.disconnected = True
        self.transport.close()


@asynccontextmanager
async def listen(app: ASGIApp, listening: socket.socket) -> AsyncGenerator[None]:
    """Serve an ASGI app on a bound socket while the block lasts, then close the socket and all connections."""
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
        timeout_graceful_shutdown=_CANCEL_TIMEOUT,
        workers=1,
    )
    config.load()
    server = uvicorn.Server(config)
    # `Server.serve` would also install signal handlers, and check ten times a second whether to exit.
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listening])
    try:
        yield
    finally:
        await _shut_down(server, listening)


async def _shut_down(server: uvicorn.Server, listening: socket.socket) -> None:
    # uvicorn waits without limit for requests in flight and for connections that are being accepted.
    async with asyncio.TaskGroup() as group:
        shutdown = group.create_task(server.shutdown(sockets=[listening]))
        for connection in _open_connections(server):
            connection.transport.close()
        while not (await asyncio.wait({shutdown}, timeout=_READ_TIMEOUT))[0]:
            for connection in _open_connections(server):
                connection.transport.abort()


def _open_connections(server: uvicorn.Server) -> list[_Connection]:
    return cast("list[_Connection]", list(server.server_state.connections))
