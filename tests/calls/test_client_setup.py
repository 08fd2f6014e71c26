"""Creating and closing a client: its arguments, its base URL, and the errors of a misconfigured or closed client."""

from __future__ import annotations

import asyncio
import math
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import httpx_aiohttp
import pytest
from support.loopback_server import LoopbackServer, http_answer
from support.scripted_server import ScriptedServer, wire
from support.virtual_time import now, virtual_time

from clanforge_async import (
    CLANFORGE_URL,
    MULTIPLAY_URL,
    AccessKeyAuth,
    BearerTokenAuth,
    ClanforgeClient,
    ClanforgeError,
    ConfigurationError,
    JobState,
    TransportError,
)

PAIR = ("key", "secret")
VARIABLES = (
    "CLANFORGE_ACCESS_KEY",
    "CLANFORGE_SECRET_KEY",
    "CLANFORGE_TOKEN",
    "CLANFORGE_ACCOUNT_SERVICE_ID",
    "CLANFORGE_BASE_URL",
)
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, *PROXIES, *map(str.upper, PROXIES)):
        monkeypatch.delenv(name, raising=False)


class Recorder(httpx.AsyncBaseTransport):
    """Responds to every request, and records the requests and how often it was closed."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.closed = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(200, json=wire(5))

    async def aclose(self) -> None:
        self.closed += 1


def assert_clean(outcomes: Iterable[object]) -> None:
    assert [o for o in outcomes if isinstance(o, Exception) and not isinstance(o, ClanforgeError)] == []


async def asked_by(client: ClanforgeClient, recorder: Recorder) -> httpx.Request:
    async with client:
        await client.image_diffs.status(5)
    (request,) = recorder.requests
    return request


# Base URL


def test_the_base_urls_are_public_constants() -> None:
    """The URLs of the two hosts are public constants."""
    assert CLANFORGE_URL == "https://api.multiplay.co.uk"
    assert MULTIPLAY_URL == "https://api.multiplay.dev"


@pytest.mark.parametrize(
    ("auth", "base_url", "asked"),
    [
        (PAIR, None, CLANFORGE_URL),
        (AccessKeyAuth(*PAIR), None, CLANFORGE_URL),
        (httpx.BasicAuth(*PAIR), None, CLANFORGE_URL),
        (BearerTokenAuth("token"), None, MULTIPLAY_URL),
        (BearerTokenAuth("token"), CLANFORGE_URL, CLANFORGE_URL),
        (PAIR, MULTIPLAY_URL, MULTIPLAY_URL),
        (PAIR, "https://gateway.example:8443", "https://gateway.example:8443"),
        (PAIR, "https://gateway.example/games/", "https://gateway.example/games"),
        (PAIR, "https://gateway.example/games", "https://gateway.example/games"),
    ],
)
async def test_the_default_base_url_depends_on_auth(auth: Any, base_url: str | None, asked: str) -> None:
    """A bearer token selects `MULTIPLAY_URL`, everything else `CLANFORGE_URL`; ``base_url`` overrides both."""
    recorder = Recorder()
    client = ClanforgeClient(auth, account_service_id=7, base_url=base_url, transport=recorder)
    request = await asked_by(client, recorder)
    assert str(request.url.copy_with(query=None)) == f"{asked}/cfp/v1/imagediff/5/status"
    assert request.headers["Host"] == httpx.URL(asked).netloc.decode()


@pytest.mark.parametrize("base_url", [None, CLANFORGE_URL, f"{CLANFORGE_URL}/"])
def test_the_documented_host_requires_an_account(base_url: str | None) -> None:
    """With `CLANFORGE_URL`, in any spelling, a missing ``account_service_id`` is an error at construction."""
    with pytest.raises(ConfigurationError, match="account_service_id"):
        ClanforgeClient(PAIR, base_url=base_url)


@pytest.mark.parametrize(
    ("auth", "options"),
    [
        (BearerTokenAuth("token"), {}),
        (PAIR, {"base_url": MULTIPLAY_URL}),
        (PAIR, {"base_url": "http://127.0.0.1:8080"}),
    ],
)
async def test_other_hosts_require_no_account(auth: Any, options: dict[str, Any]) -> None:
    """With other hosts ``account_service_id`` is optional, and nothing is sent without it."""
    recorder = Recorder()
    request = await asked_by(ClanforgeClient(auth, transport=recorder, **options), recorder)
    assert request.url.query == b""


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "api.example",
        "//api.example",
        "/cfp/v1",
        "ftp://api.example",
        "file:///etc/passwd",
        "https://",
        "https:///path",
        "https://[::1",
        "https://api.example:port",
        "https://api.example:99999",
        "https://127.0.0.1:99999",
        "https://user:s3cr3t@api.example",
        "https://user@api.example",
        "https://api.example/?key=s3cr3t",
        "https://api.example/#part",
        "https://api.example\n",
        5,
        b"https://api.example",
        ["https://api.example"],
    ],
)
def test_an_invalid_base_url_is_rejected(base_url: Any) -> None:
    """An invalid ``base_url``, or one with credentials, query or fragment, is an error that does not quote it."""
    with pytest.raises(ConfigurationError, match="base_url") as raised:
        ClanforgeClient(PAIR, account_service_id=7, base_url=base_url)
    assert "s3cr3t" not in str(raised.value)


async def test_a_base_url_may_be_an_httpx_url() -> None:
    """``base_url`` accepts an ``httpx.URL``."""
    recorder = Recorder()
    url: Any = httpx.URL("https://api.example")
    request = await asked_by(ClanforgeClient(PAIR, base_url=url, transport=recorder), recorder)
    assert request.url.host == "api.example"


# Options


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        *[({"account_service_id": value}, "account_service_id") for value in (0, -1, True, "7", 7.0)],
        *[({"timeout": value}, "timeout") for value in (0, -1, 0.0, math.nan, math.inf, True, "30", None, (1, 2))],
        *[({"max_retries": value}, "max_retries") for value in (-1, 1.5, True, "3", None)],
        *[({"max_rate": value}, "max_rate") for value in (0, -1.0, math.nan, math.inf, True, "20")],
        *[({"max_concurrency": value}, "max_concurrency") for value in (0, -1, 1.5, True, None)],
        *[({"max_response_bytes": value}, "max_response_bytes") for value in (0, -1, 1e6, True, None)],
    ],
)
def test_an_invalid_option_is_rejected(options: dict[str, Any], complaint: str) -> None:
    """An option out of range or of another type is a `ConfigurationError` that names it, at construction."""
    arguments: dict[str, Any] = {"account_service_id": 7} | options
    with pytest.raises(ConfigurationError, match=complaint):
        ClanforgeClient(PAIR, **arguments)


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": 5},
        {"timeout": 0.1},
        {"timeout": httpx.Timeout(5.0)},
        {"timeout": httpx.Timeout(None)},
        {"max_retries": 0},
        {"max_rate": None},
        {"max_rate": 0.01},
        {"max_rate": 1},
        {"max_concurrency": 1},
        {"max_response_bytes": 1000},
    ],
)
async def test_a_valid_option_is_accepted(options: dict[str, Any]) -> None:
    """Each option accepts its whole range."""
    client = ClanforgeClient(PAIR, account_service_id=7, transport=Recorder(), **options)
    async with client:
        assert (await client.image_diffs.status(5)).state is JobState.RUNNING


def test_a_client_shows_its_limits() -> None:
    """``max_concurrency`` and ``max_rate`` can be read from a client."""
    client = ClanforgeClient(PAIR, account_service_id=7)
    assert (client.max_concurrency, client.max_rate) == (10, 20.0)
    client = ClanforgeClient(PAIR, account_service_id=7, max_concurrency=3, max_rate=None)
    assert (client.max_concurrency, client.max_rate) == (3, None)


def test_options_are_keyword_only() -> None:
    """Only the credentials are positional."""
    with pytest.raises(TypeError, match="positional"):
        ClanforgeClient(PAIR, 7)  # type: ignore[call-arg] # the claim is that this fails


# Environment


@pytest.mark.parametrize(
    ("environment", "overrides", "header", "address"),
    [
        (
            {"CLANFORGE_ACCESS_KEY": "key", "CLANFORGE_SECRET_KEY": "secret", "CLANFORGE_ACCOUNT_SERVICE_ID": "7"},
            {},
            "Basic a2V5OnNlY3JldA==",
            f"{CLANFORGE_URL}/cfp/v1/imagediff/5/status?accountserviceid=7",
        ),
        (
            {"CLANFORGE_TOKEN": "token"},
            {},
            "Bearer token",
            f"{MULTIPLAY_URL}/cfp/v1/imagediff/5/status",
        ),
        (
            {"CLANFORGE_TOKEN": "token\n", "CLANFORGE_ACCESS_KEY": "", "CLANFORGE_SECRET_KEY": " "},
            {},
            "Bearer token",
            f"{MULTIPLAY_URL}/cfp/v1/imagediff/5/status",
        ),
        (
            {
                "CLANFORGE_TOKEN": "token",
                "CLANFORGE_BASE_URL": "http://127.0.0.1:80",
                "CLANFORGE_ACCOUNT_SERVICE_ID": "7",
            },
            {},
            "Bearer token",
            "http://127.0.0.1/cfp/v1/imagediff/5/status?accountserviceid=7",
        ),
        (
            {"CLANFORGE_TOKEN": "token", "CLANFORGE_BASE_URL": "http://127.0.0.1", "CLANFORGE_ACCOUNT_SERVICE_ID": "7"},
            {"base_url": "https://api.example", "account_service_id": 8},
            "Bearer token",
            "https://api.example/cfp/v1/imagediff/5/status?accountserviceid=8",
        ),
        (
            {"CLANFORGE_TOKEN": "token"},
            {"auth": PAIR, "account_service_id": 8},
            "Basic a2V5OnNlY3JldA==",
            f"{CLANFORGE_URL}/cfp/v1/imagediff/5/status?accountserviceid=8",
        ),
        ({}, {"auth": BearerTokenAuth("token")}, "Bearer token", f"{MULTIPLAY_URL}/cfp/v1/imagediff/5/status"),
        (
            {"CLANFORGE_TOKEN": "token", "CLANFORGE_ACCOUNT_SERVICE_ID": "junk"},
            {"account_service_id": 8},
            "Bearer token",
            f"{MULTIPLAY_URL}/cfp/v1/imagediff/5/status?accountserviceid=8",
        ),
    ],
)
async def test_a_client_can_be_created_from_the_environment(
    environment: dict[str, str],
    overrides: dict[str, Any],
    header: str,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`from_env` reads the environment variables; arguments override them."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    recorder = Recorder()
    request = await asked_by(ClanforgeClient.from_env(transport=recorder, **overrides), recorder)
    assert (request.headers["Authorization"], str(request.url)) == (header, address)


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({}, "CLANFORGE_TOKEN"),
        ({"CLANFORGE_TOKEN": " "}, "no credentials"),
        ({"CLANFORGE_ACCESS_KEY": "s3cr3t"}, "CLANFORGE_ACCESS_KEY is set but CLANFORGE_SECRET_KEY is not"),
        ({"CLANFORGE_SECRET_KEY": "s3cr3t"}, "CLANFORGE_SECRET_KEY is set but CLANFORGE_ACCESS_KEY is not"),
        (
            {"CLANFORGE_ACCESS_KEY": "s3cr3t", "CLANFORGE_SECRET_KEY": ""},
            "CLANFORGE_ACCESS_KEY is set but CLANFORGE_SECRET_KEY is not",
        ),
        (
            {"CLANFORGE_ACCESS_KEY": "s3cr3t", "CLANFORGE_SECRET_KEY": "s3cr3t", "CLANFORGE_TOKEN": "s3cr3t"},
            "not both",
        ),
        ({"CLANFORGE_ACCESS_KEY": "s3cr3t", "CLANFORGE_TOKEN": "s3cr3t"}, "not both"),
        ({"CLANFORGE_SECRET_KEY": "s3cr3t", "CLANFORGE_TOKEN": "s3cr3t"}, "not both"),
        ({"CLANFORGE_TOKEN": "s3cr3t s3cr3t"}, "token must be"),
        ({"CLANFORGE_TOKEN": "s3cr3t", "CLANFORGE_BASE_URL": "http://api.example"}, "plain http"),
        ({"CLANFORGE_ACCESS_KEY": "s3cr3t", "CLANFORGE_SECRET_KEY": "s3cr3t"}, "account_service_id"),
        *[
            (
                {"CLANFORGE_TOKEN": "s3cr3t", "CLANFORGE_ACCOUNT_SERVICE_ID": account},
                "CLANFORGE_ACCOUNT_SERVICE_ID|account",
            )
            for account in ("junk", "0", "-1", "1.5", "\N{ARABIC-INDIC DIGIT SEVEN}", "\N{SUPERSCRIPT TWO}")
        ],
    ],
)
def test_an_invalid_environment_is_rejected(
    environment: dict[str, str], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No credentials, half a pair, both kinds or an invalid value are a `ConfigurationError` without the secret."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=complaint) as raised:
        ClanforgeClient.from_env()
    assert "s3cr3t" not in str(raised.value)


def test_overrides_are_arguments_of_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """`from_env` returns an instance of its class, and rejects arguments that the class does not take."""

    class Subclass(ClanforgeClient):
        pass

    monkeypatch.setenv("CLANFORGE_TOKEN", "token")
    assert type(Subclass.from_env(max_concurrency=2)) is Subclass
    with pytest.raises(TypeError, match="max_speed"):
        ClanforgeClient.from_env(max_speed=2)


# Proxies


async def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client without ``transport`` uses the proxy of the environment."""
    async with LoopbackServer(lambda _: None) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{proxy.port}")
        async with ClanforgeClient(PAIR, base_url="https://api.example", max_retries=0) as client:
            with pytest.raises(TransportError):
                await client.image_diffs.status(5)
    assert [head.partition("\r\n")[0] for head in proxy.requests] == ["CONNECT api.example:443 HTTP/1.1"]


async def test_loopback_is_reached_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback addresses are reached directly, whatever proxy the environment sets."""
    async with (
        LoopbackServer(lambda _: http_answer(wire(5))) as server,
        LoopbackServer(lambda _: None) as proxy,
    ):
        for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        async with ClanforgeClient(PAIR, base_url=server.url) as client:
            await client.image_diffs.status(5)
    assert (len(server.requests), proxy.connections) == (1, 0)


async def test_no_proxy_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host listed in ``NO_PROXY`` is reached directly."""
    resolve = socket.getaddrinfo

    def resolve_to_loopback(_host: Any, *args: Any, **kwargs: Any) -> Any:
        return resolve("127.0.0.1", *args, **kwargs)

    async with LoopbackServer(lambda _: None) as server, LoopbackServer(lambda _: None) as proxy:
        monkeypatch.setattr(socket, "getaddrinfo", resolve_to_loopback)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "api.example")
        # The server speaks no TLS and the request never completes; reaching the server is enough.
        base_url = f"https://api.example:{server.port}"
        async with ClanforgeClient(PAIR, base_url=base_url, max_retries=0, timeout=0.2) as client:
            with pytest.raises(TransportError):
                await client.image_diffs.status(5)
    assert (server.connections, proxy.connections) == (1, 0)


@pytest.mark.parametrize(
    "proxy", ["ftp://proxy.example", "http://[::1", "socks5://127.0.0.1:1", "http://proxy.example:port"]
)
async def test_an_invalid_proxy_is_an_error(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An invalid proxy in the environment is a `ConfigurationError`, at construction or at the first call."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)

    async def call() -> None:
        async with ClanforgeClient(PAIR, base_url="https://api.example", max_retries=0) as client:
            await client.image_diffs.status(5)

    with pytest.raises(ConfigurationError, match="proxy"):
        await call()


# Opening and closing


async def test_a_client_works_without_a_context_manager() -> None:
    """The pool opens at the first call, and `aclose` closes it."""
    async with LoopbackServer(lambda _: http_answer(wire(5))) as server:
        client = ClanforgeClient(PAIR, base_url=server.url)
        assert server.connections == 0
        assert (await client.image_diffs.status(5)).id == 5
        await client.aclose()


def test_a_client_can_be_created_without_a_loop() -> None:
    """Creating a client needs no running event loop and opens no connection."""
    client = ClanforgeClient(PAIR, account_service_id=7)
    assert repr(client) == f"<ClanforgeClient {CLANFORGE_URL}>"


@virtual_time
async def test_a_closed_client_raises() -> None:
    """Every call of a closed client is a `ConfigurationError`, and nothing is sent."""
    server = ScriptedServer()
    async with server.client() as client:
        pass
    for call in (client.image_diffs.status(5), client.image_diffs.retry(5), client.image_versions.status(9)):
        with pytest.raises(ConfigurationError, match="closed"):
            await call
    assert server.requests == []


async def test_the_context_manager_returns_the_client() -> None:
    """``async with`` returns the client itself, and does not suppress exceptions."""
    client = ClanforgeClient(PAIR, account_service_id=7, transport=Recorder())

    async def fail_inside() -> None:
        async with client as same:
            assert same is client
            raise LookupError

    with pytest.raises(LookupError):
        await fail_inside()


@pytest.mark.parametrize("used", [True, False])
async def test_the_transport_is_closed_once_with_the_client(used: bool) -> None:
    """The given transport is closed with the client; closing the client again does nothing."""
    recorder = Recorder()
    client = ClanforgeClient(PAIR, account_service_id=7, transport=recorder)
    if used:
        await client.image_diffs.status(5)
    for _ in range(3):
        await client.aclose()
    assert recorder.closed == 1


@pytest.mark.parametrize("over_aiohttp", [False, True])
async def test_a_client_can_be_closed_twice(over_aiohttp: bool) -> None:
    """Closing a client again, or one that was never used, does nothing."""
    transport = httpx_aiohttp.AiohttpTransport(verify=False) if over_aiohttp else None
    async with LoopbackServer(lambda _: http_answer(wire(5))) as server:
        client = ClanforgeClient(PAIR, base_url=server.url, transport=transport)
        await client.image_diffs.status(5)
        await client.aclose()
        await client.aclose()
    unused = ClanforgeClient(PAIR, account_service_id=7)
    await unused.aclose()
    await unused.aclose()


async def test_calls_in_flight_end_when_the_client_closes() -> None:
    """A call in flight, or waiting for the limits, when the client closes raises a `ClanforgeError`."""
    asked = asyncio.Event()

    async def never_respond(_head: str) -> bytes:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with LoopbackServer(never_respond) as server:
        client = ClanforgeClient(PAIR, base_url=server.url, max_concurrency=1)
        calls = [asyncio.create_task(client.image_diffs.status(5)) for _ in range(3)]
        await asked.wait()
        await client.aclose()
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(outcome, ClanforgeError)
    assert len(server.requests) == 1


@virtual_time
async def test_a_waiting_call_raises_when_the_client_closes() -> None:
    """A call that waits for the limits when the client closes raises once they allow it, and sends nothing."""
    server = ScriptedServer()
    server.diff(5, wire(5))
    client = server.client(max_rate=1.0)
    calls = [asyncio.create_task(client.image_diffs.status(5)) for _ in range(3)]
    await asyncio.sleep(0.5)
    await client.aclose()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(outcome, ConfigurationError) for outcome in outcomes] == [False, True, True]
    assert len(server.requests) == 1
    assert now() < 10


@pytest.mark.parametrize("max_rate", [None, 20.0])
def test_a_client_in_a_second_loop_raises(max_rate: float | None) -> None:
    """If a client is used in a second event loop, the error says that only the first one is allowed."""
    client = ClanforgeClient(PAIR, account_service_id=7, transport=Recorder(), max_rate=max_rate, max_concurrency=2)

    async def use() -> list[object]:
        calls = (client.image_diffs.status(5) for _ in range(6))
        return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = [*asyncio.run(use()), *asyncio.run(use())]
    assert not any(isinstance(outcome, Exception) for outcome in outcomes[:6])
    refusal = "a client can only be used in the event loop in which it was first used"
    assert [repr(outcome) for outcome in outcomes[6:]] == [repr(ConfigurationError(refusal))] * 6


IN_TWO_LOOPS = """
import asyncio
from clanforge_async import ClanforgeClient, ClanforgeError
from httpx_aiohttp import AiohttpTransport
from support.loopback_server import LoopbackServer, http_answer
from support.scripted_server import wire

async def use(client, port):
    async with LoopbackServer(lambda _: http_answer(wire(5)), port):
        return await asyncio.gather(*(client.image_diffs.status(5) for _ in range(2)), return_exceptions=True)

async def free_port():
    async with LoopbackServer(lambda _: b"") as server:
        return server.port

for transport in (None, AiohttpTransport(verify=False)):
    port = asyncio.run(free_port())
    client = ClanforgeClient(("key", "secret"), base_url=f"http://127.0.0.1:{port}", transport=transport)
    outcomes = asyncio.run(use(client, port)) + asyncio.run(use(client, port))
    try:
        asyncio.run(client.aclose())
    except Exception as error:
        outcomes.append(error)
    unclean = [o for o in outcomes if isinstance(o, Exception) and not isinstance(o, ClanforgeError)]
    print(type(transport).__name__, unclean)
"""


def test_connections_of_another_loop_do_no_harm() -> None:
    """If connections belong to a closed event loop, calls and closing work or raise a `ClanforgeError`."""
    # In its own interpreter, because connections that can no longer be closed are left to the garbage collector.
    run = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-W", "ignore", "-c", IN_TWO_LOOPS],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "NoneType []\nAiohttpTransport []\n"
