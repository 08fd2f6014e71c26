"""An HTTP proxy on loopback that requires a password."""

from __future__ import annotations

import asyncio
import base64
from urllib.parse import quote

from support.loopback_server import Listener, http_answer


class ConnectProxy(Listener):
    """Responds to CONNECT with a tunnel to a port on loopback, for any host name.

    Args:
        user: The accepted user.
        password: The accepted password.

    Attributes:
        targets: Requested targets, as ``host:port``.
    """

    def __init__(self, user: str, password: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self._authorization = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"

    def url(self, user: str, password: str) -> str:
        """Return the proxy's URL with these credentials."""
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
        upstream = await asyncio.open_connection("127.0.0.1", int(target.rpartition(":")[2]))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(_forward(reader, upstream[1]), _forward(upstream[0], writer))
        finally:
            upstream[1].close()


async def _forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while content := await source.read(65536):
        sink.write(content)
        await sink.drain()
    sink.close()
