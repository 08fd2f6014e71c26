"""Transports that are trusted to report that a request was not sent, so that a retry may be sent again."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import httpx_aiohttp
import pytest
from support.loopback_server import LoopbackServer
from support.scripted_server import wire
from support.virtual_time import virtual_time_on_loopback

from clanforge_async import ClanforgeClient, RetryOutcomeUnknownError, TransportError

SAYS_UNSENT = [
    httpx.ConnectError("refused"),
    httpx.ConnectTimeout("slow"),
    httpx.PoolTimeout("full"),
    httpx.ProxyError("no tunnel"),
    httpx.LocalProtocolError("malformed"),
    httpx.UnsupportedProtocol("ftp"),
    httpx.InvalidURL("bad"),
]


class Retries:
    """Counts the retries that reach it, then fails."""

    def __init__(self, failure: Exception) -> None:
        self.failure = failure
        self.retries = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/status"):
            return httpx.Response(200, json=wire(5) | {"jobstateid": 6})
        self.retries += 1
        raise self.failure


class OtherTransport(httpx.AsyncBaseTransport):
    def __init__(self, server: Retries) -> None:
        self.server = server

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self.server(request)


class Subclass(httpx.MockTransport):
    """A subclass of httpx's transport, whose errors may have another meaning."""


class SubclassOfTheRealOne(httpx.AsyncHTTPTransport):
    def __init__(self, server: Retries) -> None:
        super().__init__(verify=False)
        self.server = server

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self.server(request)


class SubclassOfAiohttps(httpx_aiohttp.AiohttpTransport):
    def __init__(self, server: Retries) -> None:
        super().__init__(verify=False)
        self.server = server

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self.server(request)


UNTRUSTED: list[Callable[[Retries], httpx.AsyncBaseTransport]] = [
    OtherTransport,
    Subclass,
    SubclassOfTheRealOne,
    SubclassOfAiohttps,
]


@pytest.mark.parametrize("failure", SAYS_UNSENT, ids=lambda failure: type(failure).__name__)
@pytest.mark.parametrize("transport", UNTRUSTED)
async def test_another_transport_is_not_trusted(
    failure: Exception, transport: Callable[[Retries], httpx.AsyncBaseTransport]
) -> None:
    """Whatever a third party's transport raises, the retry may have been sent: it is sent once."""
    server = Retries(failure)
    async with ClanforgeClient(("k", "s"), account_service_id=7, transport=transport(server)) as client:
        with pytest.raises(RetryOutcomeUnknownError) as raised:
            await client.image_diffs.retry(5)
    assert isinstance(raised.value.__cause__, TransportError)
    assert raised.value.__cause__.request_sent is True
    assert server.retries == 1


@pytest.mark.parametrize("failure", SAYS_UNSENT, ids=lambda failure: type(failure).__name__)
async def test_httpxs_own_mock_is_trusted(failure: Exception) -> None:
    """httpx's transports are trusted, including the one for tests."""
    server = Retries(failure)
    async with ClanforgeClient(
        ("k", "s"), account_service_id=7, transport=httpx.MockTransport(server), max_retries=0
    ) as client:
        with pytest.raises(TransportError) as raised:
            await client.image_diffs.retry(5)
    assert raised.value.request_sent is False


REAL: dict[str, Callable[[], httpx.AsyncBaseTransport | None]] = {
    "default": lambda: None,
    "httpx": lambda: httpx.AsyncHTTPTransport(verify=False),
    "aiohttp": lambda: httpx_aiohttp.AiohttpTransport(verify=False),
}


@pytest.mark.parametrize("name", REAL)
def test_a_refused_connection_is_tried_again(name: str) -> None:
    """Real transports are trusted if nothing listens: the retry is sent once a server listens."""

    @virtual_time_on_loopback
    async def run() -> None:
        async with LoopbackServer(lambda _: None) as server:
            url = server.url
        async with ClanforgeClient(("k", "s"), base_url=url, transport=REAL[name](), max_retries=2) as client:
            with pytest.raises(TransportError) as raised:
                await client.image_diffs.retry(5)
        assert raised.value.request_sent is False

    run()
