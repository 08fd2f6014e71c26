"""The examples reach an API behind a proxy, with a certificate of a private authority."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trustme
from attrs import frozen
from support.examples.example_process import environment, run_script

from clanforge_async.simulator import Simulator, serve

NAME = "clanforge.invalid"
"""A name that no resolver knows."""


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Forward all bytes until the end."""
    try:
        while chunk := await reader.read(2**16):
            writer.write(chunk)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def forward_port(
    port: int, tls: ssl.SSLContext | None = None, requests: list[str] | None = None
) -> AsyncIterator[int]:
    """Forward connections to a port: with a TLS context as a TLS terminator, with `requests` as a recording proxy."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if requests is not None:
            requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        upstream, upstream_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(forward(reader, upstream_writer), forward(upstream, writer))

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(handle(reader, writer)))

    async with await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*tasks)


@frozen
class PrivateNetwork:
    """An API reachable only through a proxy, with a certificate of a private authority.

    Attributes:
        proxy: URL of the proxy.
        authority: Path of the authority's certificate.
        requests: Heads of the requests to the proxy.
    """

    proxy: str
    authority: str
    requests: list[str]


@pytest.fixture
async def private_network() -> AsyncIterator[PrivateNetwork]:
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME).configure_cert(tls)
    simulator, requests = Simulator(), list[str]()
    simulator.add_image_version(9002, duration=0)
    with authority.cert_pem.tempfile() as file:
        async with (
            serve(simulator) as url,
            forward_port(int(url.rpartition(":")[2]), tls) as api,
            forward_port(api, None, requests) as proxy,
        ):
            yield PrivateNetwork(f"http://user:password@127.0.0.1:{proxy}", file, requests)


async def test_a_client_uses_a_proxy_and_an_authority(private_network: PrivateNetwork) -> None:
    """A custom transport connects the client through the proxy, with a password, to a trusted host."""
    env = environment(
        CLANFORGE_BASE_URL=f"https://{NAME}", COMPANY_PROXY=private_network.proxy, COMPANY_CA=private_network.authority
    )
    finished = await run_script("proxy_and_private_ca.py", "9002", env=env)
    assert (finished.status, finished.out, finished.err) == (0, "image-version/9002 has completed\n", "")
    [head] = private_network.requests
    assert head.startswith(f"CONNECT {NAME}:443 ")
    assert "proxy-authorization: basic dxnlcjpwyxnzd29yza==" in head.lower()


async def test_a_process_uses_them_from_its_environment(private_network: PrivateNetwork) -> None:
    """The standard environment variables configure proxy and authority for a whole process."""
    env = environment(
        CLANFORGE_BASE_URL=f"https://{NAME}", HTTPS_PROXY=private_network.proxy, SSL_CERT_FILE=private_network.authority
    )
    finished = await run_script("watch_many.py", "image-version/9002", env=env)
    assert (finished.status, finished.err) == (0, "")
    assert len(private_network.requests) == 1
