"""The default transport on real sockets: a connection of httpcore without its pool."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator

import httpcore
import httpx
import pytest
from support.loopback_server import LoopbackServer, http_answer
from support.scripted_server import wire

from clanforge_async import ClanforgeClient, TransportError

STATUS = http_answer(wire(5))


class TokenAuth(httpx.Auth):
    """Fetches a token from another server for each request."""

    requires_response_body = True

    def __init__(self, url: str) -> None:
        self.url = url

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        token = yield httpx.Request("GET", self.url)
        request.headers["Authorization"] = token.json()["token"]
        yield request


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    async with LoopbackServer(lambda _head: STATUS) as started:
        yield started


def client_of(server: LoopbackServer, auth: httpx.Auth | tuple[str, str] = ("key", "secret")) -> ClanforgeClient:
    return ClanforgeClient(auth, base_url=server.url, max_retries=0)


async def test_requests_do_without_a_pool_of_httpcore(server: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request over the default transport costs no work of httpcore's pool."""
    monkeypatch.delattr(httpcore.AsyncConnectionPool, "handle_async_request")
    async with client_of(server) as client:
        assert (await client.image_versions.status(5)).id == 5


async def test_requests_in_a_row_share_a_connection(server: LoopbackServer) -> None:
    """A connection stays open for the next request."""
    async with client_of(server) as client:
        for _ in range(3):
            await client.image_versions.status(5)
    assert (len(server.requests), server.connections) == (3, 1)


async def test_a_connection_that_the_server_closed_is_replaced(server: LoopbackServer) -> None:
    """A request opens another connection if the server has closed the idle one."""
    async with client_of(server) as client:
        await client.image_versions.status(5)
        await server.close_connections()
        await client.image_versions.status(5)
    assert server.connections == 2


async def test_a_response_that_closes_its_connection_is_followed_by_another(server: LoopbackServer) -> None:
    """After `Connection: close` the next request opens another connection."""
    server.answer = lambda _head: http_answer(wire(5), Connection="close")
    async with client_of(server) as client:
        await client.image_versions.status(5)
        await client.image_versions.status(5)
    assert server.connections == 2


async def test_an_auth_flow_reaches_another_server(server: LoopbackServer) -> None:
    """A request to another server never goes out on the API's connection."""
    async with LoopbackServer(lambda _head: http_answer({"token": "Bearer marked"})) as tokens:
        async with client_of(server, TokenAuth(tokens.url)) as client:
            for _ in range(2):
                await client.image_versions.status(5)
        assert len(tokens.requests) == 2
    assert all("Authorization: Bearer marked" in head for head in server.requests)
    assert len(server.requests) == 2


async def test_an_unknown_protocol_is_refused(server: LoopbackServer) -> None:
    """A URL that is neither http nor https is an error of the transport, and is not sent."""
    async with client_of(server, TokenAuth("ftp://127.0.0.1/token")) as client:
        with pytest.raises(TransportError, match="unsupported protocol") as caught:
            await client.image_versions.status(5)
    assert not caught.value.request_sent
    assert server.requests == []
