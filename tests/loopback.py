"""A real server on loopback, for the claims that are about the network: it answers as a function says, and counts."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

Answerer = Callable[[str], Awaitable[bytes | None] | bytes | None]
"""Takes a request's head and gives the bytes to answer with; None drops the connection."""


def http_answer(body: Mapping[str, Any] | bytes, status: str = "200 OK", **headers: str) -> bytes:
    """Return an answer as it stands on the wire; an underscore in a header's name is a hyphen."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


class LoopbackServer:
    """Speaks as much HTTP as it takes to test a client of it.

    Attributes:
        url: Where it listens.
        requests: The heads of all requests, as they came.
        connections: How many connections it has accepted.
    """

    def __init__(self, answer: Answerer, port: int = 0) -> None:
        self.requests: list[str] = []
        self.connections = 0
        self.answer = answer
        self.port = port
        self._conversations: set[asyncio.Task[None]] = set()

    @property
    def request_lines(self) -> list[str]:
        """What was asked for, without the query: ``GET /path``."""
        return [" ".join(head.partition("?")[0].split()[:2]) for head in self.requests]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        for conversation in self._conversations:
            conversation.cancel()
        await asyncio.gather(*self._conversations, return_exceptions=True)
        await self._server.wait_closed()
        await asyncio.sleep(0)  # what was closed just now closes at the next turn

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._conversations.add(asyncio.create_task(self._converse(reader, writer)))

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.requests.append(head)
                content = self.answer(head)
                if isinstance(content, Awaitable):
                    content = await content
                if content is None:
                    return
                writer.write(content)
                await writer.drain()
                if b"\r\nConnection: close\r\n" in content:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@contextmanager
def nobody_listens() -> Iterator[str]:
    """Give an address at which every connection is refused for as long as this lasts."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
