"""Serves a simulator on a socket."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from clanforge_async.simulator.errors import MISSING_EXTRA

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from clanforge_async.simulator.service import Simulator


@asynccontextmanager
async def serve(simulator: Simulator, host: str = "127.0.0.1", port: int = 0) -> AsyncGenerator[str]:
    """Serve a simulator with uvicorn in the running loop while the block lasts, and return its base URL.

    Leaving the block cancels requests in flight. No signal handlers are installed.

    Args:
        simulator: The simulator.
        host: The address to listen on, IPv4 or IPv6.
        port: The port; 0: any free one.

    Raises:
        OSError: The address or port is not available.
        ImportError: uvicorn is not installed.
    """
    # A simulator in process needs no server, whose import is slow.
    try:
        from clanforge_async.simulator.uvicorn_server import listen  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ImportError(MISSING_EXTRA) from error

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listening:
        host, port = listening.getsockname()[:2]
        async with listen(simulator.app, listening):
            yield f"http://[{host}]:{port}" if family == socket.AF_INET6 else f"http://{host}:{port}"
