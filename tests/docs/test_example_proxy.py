"""A proxy and a private authority: where only both of them lead to the API, the examples reach it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trustme
from attrs import frozen
from support.examples.running import environment, run_script

from clanforge_async.simulator import Simulator, serve

NAME = "clanforge.invalid"
"""A name that no resolver knows."""


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes, to the end."""
    try:
        while chunk := await reader.read(2**16):
            writer.write(chunk)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def relay(port: int, tls: ssl.SSLContext | None = None, asked: list[str] | None = None) -> AsyncIterator[int]:
    """Pass connections on to a port: as what ends TLS in front of it, or as a proxy that notes what it is asked."""
    passing: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if asked is not None:
            asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, back), pump(there, writer))

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passing.add(asyncio.create_task(converse(reader, writer)))

    async with await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*passing)


@frozen
class Behind:
    """An API that only its proxy knows, and whose certificate only its authority vouches for.

    Attributes:
        asked: The heads of what the proxy was asked.
    """

    proxy: str
    authority: str
    asked: list[str]


@pytest.fixture
async def behind() -> AsyncIterator[Behind]:
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME).configure_cert(tls)
    simulator, asked = Simulator(), list[str]()
    simulator.add_image_version(9002, duration=0)
    with authority.cert_pem.tempfile() as file:
        async with (
            serve(simulator) as url,
            relay(int(url.rpartition(":")[2]), tls) as api,
            relay(api, None, asked) as proxy,
        ):
            yield Behind(f"http://user:password@127.0.0.1:{proxy}", file, asked)


async def test_one_client_has_a_proxy_and_an_authority(behind: Behind) -> None:
    """A transport of its own takes a client through the proxy, by name and password, to a host that it trusts."""
    env = environment(CLANFORGE_BASE_URL=f"https://{NAME}", COMPANY_PROXY=behind.proxy, COMPANY_CA=behind.authority)
    finished = await run_script("proxy_and_private_ca.py", "9002", env=env)
    assert (finished.status, finished.out, finished.err) == (0, "image-version/9002 has completed\n", "")
    [head] = behind.asked
    assert head.startswith(f"CONNECT {NAME}:443 ")
    assert "proxy-authorization: basic dxnlcjpwyxnzd29yza==" in head.lower()


async def test_a_whole_process_has_them_by_its_environment(behind: Behind) -> None:
    """As the example says, the variables that other programs heed are enough."""
    env = environment(CLANFORGE_BASE_URL=f"https://{NAME}", HTTPS_PROXY=behind.proxy, SSL_CERT_FILE=behind.authority)
    finished = await run_script("watch_many.py", "image-version/9002", env=env)
    assert (finished.status, finished.err) == (0, "")
    assert len(behind.asked) == 1
