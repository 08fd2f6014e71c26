"""Proxies and certificates in environment variables."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from support.loopback_server import LoopbackServer, http_answer
from support.scripted_server import wire

from clanforge_async import ClanforgeClient, ConfigurationError, JobRef, JobWatcher
from clanforge_async._http.proxy_bypass import bypasses_proxy

HOST = "https://gw.corp.test:8443"
EXEMPT = [
    ("gw.corp.test", HOST),
    ("GW.Corp.Test", HOST),
    (".corp.test", HOST),
    ("corp.test", HOST),
    ("*.corp.test", HOST),
    ("*", HOST),
    ("other.test, gw.corp.test", HOST),
    ("other.test gw.corp.test", HOST),
    ("gw.corp.test:8443", HOST),
    (".corp.test:8443", HOST),
    ("gw.corp.test:443", "https://gw.corp.test"),
    ("https://gw.corp.test", HOST),
    ("fe80::/10,::1/128,gw.corp.test", HOST),
    ("10.255.255.1", "https://10.255.255.1:8443"),
    ("10.255.255.1:8443", "https://10.255.255.1:8443"),
    ("10.0.0.0/8", "https://10.255.255.1"),
    ("2001:db8::1", "https://[2001:db8::1]:8443"),
    ("[2001:db8::1]", "https://[2001:db8::1]:8443"),
    ("[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
    ("2001:db8::/32", "https://[2001:db8::1]"),
]
PROXIED = [
    ("", HOST),
    (" , ", HOST),
    ("orp.test", HOST),
    ("gw.corp.test:443", HOST),
    ("http://gw.corp.test", HOST),
    ("fe80::/10", HOST),
    (".", HOST),
    ("gw.corp.test:port", HOST),
    ("10.255.255.2", "https://10.255.255.1"),
    ("10.255.255.1:1", "https://10.255.255.1:8443"),
    ("11.0.0.0/8", "https://10.255.255.1"),
    ("[2001:db8::1]:1", "https://[2001:db8::1]:8443"),
]


@pytest.mark.parametrize(("no_proxy", "url"), EXEMPT)
@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
def test_a_host_is_exempt_from_the_proxy(
    no_proxy: str, url: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`NO_PROXY` exempts hosts, domains, addresses and networks, each with or without a port."""
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv(variable, no_proxy)
    assert bypasses_proxy(httpx.URL(url))


@pytest.mark.parametrize(("no_proxy", "url"), PROXIED)
def test_another_host_is_not(no_proxy: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry for another host, port, scheme or network exempts nothing, and neither does an invalid entry."""
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert not bypasses_proxy(httpx.URL(url))


def broken(folder: Path) -> Path:
    file = folder / "broken.pem"
    file.write_text("-----BEGIN CERTIFICATE-----\nnot base64\n")
    return file


def empty(folder: Path) -> Path:
    file = folder / "empty.pem"
    file.touch()
    return file


@pytest.mark.parametrize("make", [lambda _: Path("/no/such/ca.pem"), broken, empty, lambda folder: folder])
@pytest.mark.parametrize("call", ["status", "retry", "wait"])
async def test_an_invalid_certificate_file_is_named(
    make: object, call: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """If the file in `SSL_CERT_FILE` is missing or contains no certificates, a `ConfigurationError` names both."""
    assert callable(make)
    path = make(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    async with ClanforgeClient(("k", "s"), account_service_id=7, base_url="https://localhost:9") as client:
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "status": lambda: client.image_diffs.status(5),
            "retry": lambda: client.image_diffs.retry(5),
            "wait": lambda: JobWatcher(client).wait(JobRef.image_version(5)),
        }
        with pytest.raises(ConfigurationError, match=f"SSL_CERT_FILE={path} cannot be loaded"):
            await calls[call]()


async def test_certificates_are_not_read_for_plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loopback server without TLS needs no certificates, whatever the environment variables say."""
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/ca.pem")
    async with (
        LoopbackServer(lambda _: http_answer(wire(5))) as server,
        ClanforgeClient(("k", "s"), account_service_id=7, base_url=server.url) as client,
    ):
        assert (await client.image_diffs.status(5)).id == 5
