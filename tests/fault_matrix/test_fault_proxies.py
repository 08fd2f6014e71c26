"""A proxy between client and server that requires a password."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import httpx_aiohttp
import pytest
from support.faults.certificate_authorities import CertificateAuthorities, server_ssl_context
from support.faults.connect_proxy import ConnectProxy
from support.faults.faulty_server import FaultyServer
from support.faults.harness import STATUS_CALLS, call_retry, running_job
from support.faults.misbehaviours import close_on_accept
from support.faults.resolver import HOST_NAME
from support.secrets import ACCESS_KEY, PROXY_PASSWORD, SECRET_KEY, assert_hidden, shown_by

from clanforge_async import ClanforgeClient, JobState, TransportError

TRANSPORTS: dict[str, Callable[[str], httpx.AsyncBaseTransport | None]] = {
    "environment": lambda _: None,
    "httpx": lambda address: httpx.AsyncHTTPTransport(proxy=address),
    "aiohttp": lambda address: httpx_aiohttp.AiohttpTransport(proxy=httpx.Proxy(address)),
}
pytestmark = [
    pytest.mark.parametrize("transport", TRANSPORTS.values(), ids=TRANSPORTS),
    # httpx-aiohttp passes the password in a deprecated way
    pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning"),
]
Transport = Callable[[str], httpx.AsyncBaseTransport | None]


@asynccontextmanager
async def proxied(
    transport: Transport,
    password: str,
    certificate_authorities: CertificateAuthorities,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[tuple[ClanforgeClient, FaultyServer, ConnectProxy]]:
    """Yield a client that reaches its server only through a proxy, with this password."""
    tls = server_ssl_context(certificate_authorities[0], HOST_NAME)
    async with (
        ConnectProxy("user", PROXY_PASSWORD) as proxy,
        FaultyServer(close_on_accept, 0, running_job, tls) as server,
    ):
        await server.listen()
        address = proxy.url("user", password)
        monkeypatch.setenv("HTTPS_PROXY", address)
        async with ClanforgeClient(
            (ACCESS_KEY, SECRET_KEY),
            base_url=f"https://{HOST_NAME}:{server.port}",
            transport=transport(address),
            max_retries=0,
        ) as client:
            yield client, server, proxy


async def test_the_right_password_opens_a_tunnel(
    transport: Transport, certificate_authorities: CertificateAuthorities, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call reaches, through the proxy, a host that only the proxy resolves; status calls share a tunnel."""
    async with proxied(transport, PROXY_PASSWORD, certificate_authorities, monkeypatch) as (client, server, proxy):
        for call in (*STATUS_CALLS.values(), call_retry):
            assert (await call(client)).state is JobState.RUNNING
        assert set(proxy.targets) == {f"{HOST_NAME}:{server.port}"}
        assert len(proxy.targets) <= 2
    assert len(server.paths) == 3


async def test_the_wrong_password_sends_nothing(
    transport: Transport, certificate_authorities: CertificateAuthorities, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rejected tunnel counts as not sent for every call, and no error shows a password."""
    wrong = PROXY_PASSWORD[::-1]
    async with proxied(transport, wrong, certificate_authorities, monkeypatch) as (client, server, _):
        for call in (*STATUS_CALLS.values(), call_retry):
            with pytest.raises(TransportError, match="407 Proxy Authentication Required") as raised:
                await call(client)
            assert not raised.value.request_sent
            assert_hidden(shown_by(raised.value))
            assert wrong not in shown_by(raised.value)
    assert server.paths == []
