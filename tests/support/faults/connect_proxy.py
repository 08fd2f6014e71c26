"""A proxy on loopback that lets through what proves that it may."""

from __future__ import annotations

import asyncio
import base64
from urllib.parse import quote

from support.loopback_server import Listener, http_answer


class ConnectProxy(Listener):
    """Answers CONNECT with a tunnel to a port of this machine, whatever the host is called.

    Args:
        user: Whom it lets through.
        password: With which password.

    Attributes:
        targets: What was asked for: ``host:port``.
    """

    def __init__(self, user: str, password: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self._authorization = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"

    def url(self, user: str, password: str) -> str:
        """Return its address, as somebody who has this password would write it."""
        return f"http://{quote(user, safe='')}:{quote(password, safe='')}@127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, target, _ = first.split()
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self.targets.append(target)
        if headers.get("proxy-authorization") != self._authorization:
            writer.write(http_answer(b"", "407 Proxy Authentication Required", Proxy_Authenticate="Basic"))
            return await writer.drain()
        assert method == "CONNECT"
        there = await asyncio.open_connection("127.0.0.1", int(target.rpartition(":")[2]))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(_forward(reader, there[1]), _forward(there[0], writer))
        finally:
            there[1].close()


async def _forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while content := await source.read(65536):
        sink.write(content)
        await sink.drain()
    sink.close()
