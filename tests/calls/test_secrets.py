"""Marked secrets appear in no output, whatever the outcome of a call or a watch."""

from __future__ import annotations

import asyncio
import base64
import gc
import logging
import warnings
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import aiohttp
import httpx
import httpx_aiohttp
import pytest
from support.loopback_server import LoopbackServer, http_answer, nobody_listens
from support.scripted_server import ScriptedServer, envelope, wire
from support.secrets import ACCESS_KEY, PROXY_PASSWORD, SECRET_KEY, TOKEN, assert_hidden, shown_by
from support.telemetry.collected import Collected
from support.virtual_time import virtual_time, virtual_time_on_loopback

from clanforge_async import (
    AccessKeyAuth,
    APIError,
    BearerTokenAuth,
    ClanforgeClient,
    ClanforgeError,
    ConfigurationError,
    InvalidResponseError,
    JobRef,
    JobState,
    JobWatcher,
    StaleJobError,
    TransportError,
    WatchClosedError,
    WatchTimeoutError,
)

Transports = Callable[[], httpx.AsyncBaseTransport | None]


class CustomAuth(httpx.Auth):
    """A third party's auth class with its own header."""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["X-Api-Key"] = TOKEN
        yield request


CREDENTIALS: dict[str, Any] = {
    "keys": AccessKeyAuth(ACCESS_KEY, SECRET_KEY),
    "token": BearerTokenAuth(TOKEN),
    "signer": CustomAuth(),
}
TRANSPORTS: dict[str, Transports] = {
    "default": lambda: None,
    "httpx": lambda: httpx.AsyncHTTPTransport(verify=False),
    "aiohttp": lambda: httpx_aiohttp.AiohttpTransport(verify=False),
}
RESPONSES: dict[int, bytes | None] = {
    1: http_answer(wire(1)),
    2: http_answer(wire(2, JobState.COMPLETED)),
    3: http_answer(wire(3, JobState.FAILED, joberror="disk full")),
    4: http_answer(wire(4, JobState.SQUASHED)),
    5: http_answer({"diffid": "five"}),
    6: http_answer(b"<html>"),
    7: http_answer(b"junk", Content_Encoding="gzip"),
    8: http_answer(envelope("forbidden")),
    9: http_answer(envelope("image locked by diffid: 7")),
    10: http_answer(b"", "302 Found", Location="https://elsewhere.example/"),
    11: http_answer({}, "400 Bad Request"),
    12: http_answer({}, "401 Unauthorized"),
    13: http_answer({}, "403 Forbidden"),
    14: http_answer({}, "404 Not Found"),
    15: http_answer({}, "429 Too Many Requests"),
    16: http_answer(b"", "500 Internal Server Error"),
    17: b"no HTTP at all\r\n\r\n",
    18: None,
    19: http_answer(b"x" * 5000),
}
NO_RESPONSE = 20


@pytest.fixture(autouse=True)
def _logs_show_nothing(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Set every logger to DEBUG, including third parties', and assert that none logs a marked secret."""
    for name in ("", "clanforge_async", "httpx", "httpcore", "aiohttp", "asyncio"):
        caplog.set_level(logging.DEBUG, name)
    yield
    assert_hidden("\n".join([caplog.text, *(repr(vars(record)) for record in caplog.get_records("call"))]))


async def _answer(head: str) -> bytes | None:
    job_id = int(head.split("/")[4])
    if job_id == NO_RESPONSE:
        await asyncio.Event().wait()
    return RESPONSES[job_id]


async def _all_output(client: ClanforgeClient, job_id: int) -> str:
    """Return all output of a job's calls and watches, and of the objects that make them."""
    shown = []
    async with JobWatcher(client, outage_tolerance=0, timeout=0.05) as watcher:
        ref = JobRef.image_diff(job_id)
        for call in (
            client.image_diffs.status(job_id),
            client.image_diffs.retry(job_id),
            watcher.wait(ref),
            watcher.wait_all([ref]),
        ):
            try:
                shown.append(repr(await call))
            except ClanforgeError as error:
                shown.append(shown_by(error))
        parts = (client, vars(client), vars(client.image_diffs), vars(client._session), watcher, vars(watcher))
        return "\n".join([*shown, *map(repr, parts), *map(repr, asyncio.all_tasks())])


@pytest.mark.parametrize("transport", TRANSPORTS.values(), ids=TRANSPORTS)
@pytest.mark.parametrize("auth", CREDENTIALS.values(), ids=CREDENTIALS)
@virtual_time_on_loopback
async def test_no_outcome_shows_a_secret(auth: Any, transport: Transports) -> None:
    """No result, error, pickle or log of a call or watch contains a secret, whatever the outcome."""
    async with (
        LoopbackServer(_answer) as server,
        ClanforgeClient(
            auth,
            base_url=server.url,
            transport=transport(),
            max_rate=None,
            max_retries=0,
            timeout=0.1,
            max_response_bytes=4000,
        ) as client,
    ):
        for job_id in (*RESPONSES, NO_RESPONSE):
            assert_hidden(await _all_output(client, job_id))
    assert len(server.requests) > len(RESPONSES)
    sent = [head.lower() for head in server.requests]
    assert all("\r\nauthorization: " in head or "\r\nx-api-key: marked" in head for head in sent)


@pytest.mark.parametrize("auth", CREDENTIALS.values(), ids=CREDENTIALS)
@virtual_time
async def test_no_retry_or_outage_shows_a_secret(auth: Any) -> None:
    """The logs of retries, cooldowns and outages contain no secret."""
    server = ScriptedServer()
    failures = httpx.Response(429), httpx.Response(503), httpx.ReadError("reset"), httpx.ReadTimeout("slow")
    for job_id in (1, 2):
        server.diff(job_id, *failures, wire(job_id, JobState.COMPLETED))
    async with server.client(auth=auth, max_retries=5) as client:
        assert (await client.image_diffs.status(1)).is_completed
        assert (await JobWatcher(client).wait(JobRef.image_diff(2))).is_completed


@virtual_time
async def test_an_exception_of_custom_auth_is_raised_and_not_logged() -> None:
    """An exception of a third party's auth class that contains its secret reaches the caller and no log."""

    class FailingAuth(httpx.Auth):
        def auth_flow(self, _request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            yield from ()
            raise LookupError(TOKEN)

    server = ScriptedServer()
    with pytest.raises(LookupError):
        await JobWatcher(server.client(auth=FailingAuth())).wait(JobRef.image_diff(1))


async def test_no_span_or_metric_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """No span or metric contains a secret, whatever the outcome of a watch."""
    collected = Collected(monkeypatch)
    async with (
        LoopbackServer(_answer) as server,
        ClanforgeClient(CREDENTIALS["signer"], base_url=server.url, max_rate=None, max_retries=0) as client,
    ):
        watcher = JobWatcher(client, outage_tolerance=0, timeout=0.2)
        await watcher.wait_all(map(JobRef.image_diff, RESPONSES))
    reported = [span.to_json() for span in collected.spans()]
    assert len(reported) == len(RESPONSES)
    assert_hidden("\n".join([*reported, *map(repr, collected.metrics().values())]))


@pytest.mark.parametrize("transport", TRANSPORTS.values(), ids=TRANSPORTS)
@pytest.mark.parametrize("auth", CREDENTIALS.values(), ids=CREDENTIALS)
@virtual_time_on_loopback
async def test_no_unfinished_watch_shows_a_secret(auth: Any, transport: Transports) -> None:
    """A watch that is stale, timed out or closed shows no secret."""
    stale = JobRef.image_diff(1, newer_than=datetime.max.replace(tzinfo=UTC, microsecond=0))
    async with (
        LoopbackServer(_answer) as server,
        ClanforgeClient(auth, base_url=server.url, transport=transport(), max_rate=None) as client,
        JobWatcher(client, stale_after=0) as watcher,
    ):
        left = asyncio.ensure_future(watcher.wait_all([JobRef.image_diff(job_id) for job_id in (1, NO_RESPONSE)]))
        results = await watcher.wait_all([stale, JobRef.image_diff(1)], timeout=3)
        await watcher.aclose()
        results += await left
        kinds = [type(result.error) for result in results]
        assert kinds == [StaleJobError, WatchTimeoutError, WatchClosedError, WatchClosedError]
        for result in results:
            assert result.error is not None
            assert_hidden(repr(result) + shown_by(result.error))
        with pytest.raises(WatchClosedError) as closed:
            await watcher.wait(stale)
        assert_hidden(shown_by(closed.value))


@pytest.mark.parametrize("transport", TRANSPORTS.values(), ids=TRANSPORTS)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_no_connection_failure_shows_a_secret(transport: Transports, scheme: str) -> None:
    """A refused connection or a failed TLS handshake shows no secret."""
    asyncio.get_running_loop().set_debug(True)  # makes asyncio log what runs
    async with await asyncio.start_server(_fail_tls_handshake, "127.0.0.1", 0) as server:
        with nobody_listens() as refusing:
            port = server.sockets[0].getsockname()[1]
            url = refusing if scheme == "http" else f"https://127.0.0.1:{port}"
            async with ClanforgeClient(
                CREDENTIALS["keys"], base_url=url, transport=transport(), max_rate=None, max_retries=0
            ) as client:
                assert_hidden(await _all_output(client, 5))
    with warnings.catch_warnings():  # asyncio leaves the socket of a failed handshake to the garbage collector
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


async def _fail_tls_handshake(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    writer.close()
    await writer.wait_closed()


PROXIED: dict[str, Callable[[str], httpx.AsyncBaseTransport | None]] = {
    "environment": lambda _: None,
    "httpx": lambda proxy: httpx.AsyncHTTPTransport(proxy=proxy, verify=False),
    "aiohttp": lambda proxy: httpx_aiohttp.AiohttpTransport(proxy=httpx.Proxy(proxy), verify=False),
    "aiohttp's session": lambda proxy: httpx_aiohttp.AiohttpTransport(
        client=lambda: aiohttp.ClientSession(proxy=proxy)
    ),
}


@pytest.mark.filterwarnings(
    "ignore:.*deprecated:DeprecationWarning"
)  # httpx-aiohttp passes passwords in a deprecated way
@pytest.mark.parametrize("transport", PROXIED.values(), ids=PROXIED)
@pytest.mark.parametrize("refuses", [True, False])
async def test_no_proxy_error_shows_a_password(
    transport: Callable[[str], httpx.AsyncBaseTransport | None], refuses: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of an unreachable or rejecting proxy does not contain its password."""
    async with LoopbackServer(lambda _: http_answer(b"", "407 Proxy Authentication Required")) as proxy:
        with nobody_listens() as nobody:
            host = (nobody if refuses else proxy.url).removeprefix("http://")
            address = f"http://user:{quote(PROXY_PASSWORD, safe='')}@{host}"
            monkeypatch.setenv("HTTPS_PROXY", address)
            async with ClanforgeClient(
                (ACCESS_KEY, SECRET_KEY),
                base_url="https://api.example",
                transport=transport(address),
                max_rate=None,
                max_retries=0,
            ) as client:
                assert_hidden(await _all_output(client, 5))
    assert refuses or "Proxy-Authorization" in proxy.requests[0]


async def test_a_proxy_error_shows_the_response_of_the_proxy() -> None:
    """The error quotes the proxy's response to CONNECT, and has ``request_sent`` False."""
    async with LoopbackServer(lambda _: http_answer(b"", "407 Proxy Authentication Required")) as proxy:
        transport = httpx_aiohttp.AiohttpTransport(client=lambda: aiohttp.ClientSession(proxy=proxy.url))
        async with ClanforgeClient(
            (ACCESS_KEY, SECRET_KEY), base_url="https://api.example", transport=transport, max_retries=0
        ) as client:
            with pytest.raises(TransportError, match="407 Proxy Authentication Required") as raised:
                await client.image_diffs.retry(5)
    assert not raised.value.request_sent


@pytest.mark.parametrize("status", ["200 OK", "500 Internal Server Error"])
@pytest.mark.parametrize("transport", TRANSPORTS.values(), ids=TRANSPORTS)
async def test_a_response_that_quotes_the_request_is_only_in_the_body(transport: Transports, status: str) -> None:
    """A gateway's page that quotes the request is in ``body``, but in no message and no log."""
    async with (
        LoopbackServer(lambda head: http_answer(f"<pre>{head}</pre>".encode(), status)) as server,
        ClanforgeClient(CREDENTIALS["keys"], base_url=server.url, transport=transport(), max_retries=0) as client,
    ):
        with pytest.raises((APIError, InvalidResponseError)) as failed:
            await client.image_diffs.status(5)
    assert isinstance(failed.value, APIError | InvalidResponseError)
    assert "Basic " in failed.value.body
    failed.value.body = ""
    failed.value.__traceback__ = None  # the package's frames contain the page
    assert_hidden(shown_by(failed.value))


@pytest.mark.parametrize(
    "environment",
    [
        {"CLANFORGE_ACCESS_KEY": ACCESS_KEY},
        {"CLANFORGE_SECRET_KEY": SECRET_KEY},
        {"CLANFORGE_ACCESS_KEY": ACCESS_KEY, "CLANFORGE_SECRET_KEY": SECRET_KEY, "CLANFORGE_TOKEN": TOKEN},
        {"CLANFORGE_ACCESS_KEY": f"{ACCESS_KEY}:", "CLANFORGE_SECRET_KEY": SECRET_KEY},
        {"CLANFORGE_TOKEN": f"{TOKEN} {TOKEN}"},
        {"CLANFORGE_TOKEN": TOKEN, "CLANFORGE_BASE_URL": f"https://user:{SECRET_KEY}@api.example"},
        {"CLANFORGE_TOKEN": TOKEN, "CLANFORGE_BASE_URL": f"http://{quote(SECRET_KEY)}@api.example"},
        {"CLANFORGE_TOKEN": TOKEN, "CLANFORGE_BASE_URL": f"https://api.example/?key={quote(SECRET_KEY)}"},
        {"CLANFORGE_TOKEN": TOKEN, "CLANFORGE_ACCOUNT_SERVICE_ID": SECRET_KEY},
        {"CLANFORGE_ACCESS_KEY": ACCESS_KEY, "CLANFORGE_SECRET_KEY": SECRET_KEY},
    ],
)
def test_an_invalid_environment_is_not_quoted(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable or the option, and quotes no value."""
    for name in ("ACCESS_KEY", "SECRET_KEY", "TOKEN", "ACCOUNT_SERVICE_ID", "BASE_URL"):
        monkeypatch.delenv(f"CLANFORGE_{name}", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as raised:
        ClanforgeClient.from_env()
    # Functions that received the secrets have them in local variables, which tracebacks do not show.
    raised.value.__traceback__ = None
    assert_hidden(shown_by(raised.value))


async def test_the_check_finds_marked_secrets() -> None:
    """The check fails for each form of a secret."""
    for shown in (SECRET_KEY, quote(TOKEN), base64.b64encode(f"{ACCESS_KEY}:{SECRET_KEY}".encode()).decode()):
        with pytest.raises(AssertionError):
            assert_hidden(f"so {shown} is seen")
