"""Serves until it is stopped."""

from __future__ import annotations

import argparse
import socket
from contextlib import suppress
from pathlib import Path

import uvicorn

from .app import make_app
from .board import Board

PATIENCE = 2
"""Seconds that a client may delay the shutdown if it has stopped reading."""


class Server(uvicorn.Server):
    """A server that ends all streams on shutdown, since uvicorn waits for open responses."""

    def __init__(self, config: uvicorn.Config, board: Board) -> None:
        super().__init__(config)
        self._board = board

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then stop."""
        self._board.close()
        await super().shutdown(sockets)


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="service", description="Watch Clanforge jobs, and show them in a browser.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default=8000, type=int)
    parser.add_argument("--database", default=Path("watches.sqlite3"), type=Path)
    options = parser.parse_args()
    board = Board()
    app = make_app(options.database, board)
    config = uvicorn.Config(app, host=options.host, port=options.port, timeout_graceful_shutdown=PATIENCE)
    with suppress(KeyboardInterrupt):
        Server(config, board).run()


if __name__ == "__main__":
    main()
