"""A fake DNS resolver."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

HOST_NAME = "api.clanforge.test"


class FakeResolver:
    """Replaces the system's resolver for `HOST_NAME`, in the running loop.

    Attributes:
        resolves: Whether the name resolves to loopback; if not, it is unknown.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self.resolves = False
        self._system = loop.getaddrinfo
        monkeypatch.setattr(loop, "getaddrinfo", self._resolve)

    async def _resolve(self, host: Any, port: Any, **options: Any) -> Any:
        if host not in (HOST_NAME, HOST_NAME.encode()):
            return await self._system(host, port, **options)
        if not self.resolves:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", int(port)))]
