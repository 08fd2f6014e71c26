"""Failures between the client and the server are always raised as a `ClanforgeError`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import cattrs
import httpx
import httpx_aiohttp
import pytest
import tenacity
from support.loopback_server import LoopbackServer, http_answer, nobody_listens
from support.scripted_server import ScriptedServer, wire
from support.virtual_time import now, virtual_time

from clanforge_async import (
    ClanforgeClient,
    ClanforgeError,
    InvalidResponseError,
    RequestTimeoutError,
    TransportError,
)

HTTPX_ERRORS = sorted(
    (thing for thing in vars(httpx).values() if isinstance(thing, type) and issubclass(thing, Exception)),
    key=lambda cls: cls.__name__,
)
NOT_SENT = {
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.InvalidURL,
    httpx.LocalProtocolError,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
}
each_transport = pytest.mark.parametrize("over_aiohttp", [False, True])


def make(cls: type[Exception]) -> Exception:
    """Create an httpx exception; their constructors differ."""
    request = httpx.Request("GET", "https://api.example")
    if issubclass(cls, httpx.HTTPStatusError):
        return cls("marked", request=request, response=httpx.Response(400, request=request))
    if cls in {httpx.StreamConsumed, httpx.ResponseNotRead, httpx.RequestNotRead, httpx.StreamClosed}:
        return cls()
    return cls("marked")


def failing(error: BaseException, **options: Any) -> ClanforgeClient:
    def fail(_request: httpx.Request) -> httpx.Response:
        raise error

    arguments = {"account_service_id": 7, "max_retries": 0} | options
    return ClanforgeClient(("key", "secret"), transport=httpx.MockTransport(fail), **arguments)


def transport_of(over_aiohttp: bool) -> httpx.AsyncBaseTransport | None:
    return httpx_aiohttp.AiohttpTransport(verify=False) if over_aiohttp else None


@pytest.mark.parametrize("cls", HTTPX_ERRORS, ids=lambda cls: cls.__name__)
async def test_no_httpx_exception_escapes(cls: type[Exception]) -> None:
    """Each exception of httpx is raised as a `ClanforgeError` that says whether the request was sent."""
    error = make(cls)
    async with failing(error) as client:
        with pytest.raises(ClanforgeError) as raised:
            await client.image_diffs.status(5)
    if issubclass(cls, httpx.DecodingError):
        assert type(raised.value) is InvalidResponseError
        return
    assert isinstance(raised.value, TransportError)
    assert isinstance(raised.value, RequestTimeoutError) is issubclass(cls, httpx.TimeoutException)
    assert raised.value.request_sent is (cls not in NOT_SENT)
    assert "/cfp/v1/imagediff/5/status" in str(raised.value)
    # The exception for a header that cannot be sent quotes the header.
    assert raised.value.__cause__ is (None if cls is httpx.LocalProtocolError else error)
    assert ("marked" in str(raised.value)) is (
        str(error) == "marked" and not isinstance(raised.value, TimeoutError) and cls is not httpx.LocalProtocolError
    )


def test_the_list_of_httpx_exceptions_is_complete() -> None:
    """The list of the previous test has all exceptions of httpx."""
    assert {httpx.ConnectError, httpx.InvalidURL, httpx.StreamClosed, httpx.CookieConflict} <= set(HTTPX_ERRORS)


@pytest.mark.parametrize("error", [OSError(104, "reset"), ConnectionResetError(), BrokenPipeError(), OSError()])
async def test_an_os_error_is_a_transport_error(error: OSError) -> None:
    """An ``OSError`` of a transport is a `TransportError` with ``request_sent`` True."""
    async with failing(error) as client:
        with pytest.raises(TransportError) as raised:
            await client.image_diffs.status(5)
    assert raised.value.request_sent is True
    assert raised.value.__cause__ is error


async def test_a_timeout_error_is_a_request_timeout() -> None:
    """A ``TimeoutError`` of a transport is a `RequestTimeoutError`."""
    async with failing(TimeoutError()) as client:
        with pytest.raises(RequestTimeoutError, match="no response in time") as raised:
            await client.image_diffs.status(5)
    assert raised.value.request_sent is True


async def test_a_connect_timeout_sent_nothing() -> None:
    """A timeout before there is a connection has ``request_sent`` False, and its message says so."""
    async with failing(httpx.ConnectTimeout("")) as client:
        with pytest.raises(RequestTimeoutError, match="no connection in time") as raised:
            await client.image_diffs.status(5)
    assert raised.value.request_sent is False


@pytest.mark.parametrize("error", [AssertionError("unexpected"), KeyError("x"), ValueError("x"), RuntimeError("x")])
@pytest.mark.parametrize("call", ["status", "retry"])
async def test_other_exceptions_are_unchanged(error: Exception, call: str) -> None:
    """An exception that is not a network failure, such as a mock's assertion, is raised unchanged, without a retry."""
    async with failing(error, max_retries=3) as client:
        with pytest.raises(type(error)) as raised:
            await getattr(client.image_diffs, call)(5)
    assert raised.value is error


@pytest.mark.parametrize("call", ["status", "retry"])
async def test_the_callers_cancellation_is_unchanged(call: str) -> None:
    """A cancellation of the caller is raised unchanged, without a retry."""

    async def never(_request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    transport = httpx.MockTransport(never)
    async with ClanforgeClient(("key", "secret"), account_service_id=7, transport=transport) as client:
        task = asyncio.create_task(getattr(client.image_diffs, call)(5))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel("by the caller")
        with pytest.raises(asyncio.CancelledError, match="by the caller"):
            await task


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", json.dumps(wire(5, jobupdated="soon")).encode(), json.dumps(wire(5, game=5)).encode()],
)
async def test_no_exception_of_the_codec_escapes(content: bytes) -> None:
    """Exceptions of json and cattrs are raised as `InvalidResponseError`."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=content))
    async with ClanforgeClient(("key", "secret"), account_service_id=7, transport=transport) as client:
        with pytest.raises(InvalidResponseError) as raised:
            await client.image_diffs.status(5)
    assert not isinstance(raised.value, json.JSONDecodeError | cattrs.BaseValidationError)


@virtual_time
async def test_no_exception_of_tenacity_escapes() -> None:
    """The error of the last attempt is raised, not tenacity's."""
    server = ScriptedServer()
    server.diff(5, httpx.Response(500))
    async with server.client() as client:
        with pytest.raises(ClanforgeError) as raised:
            await client.image_diffs.status(5)
    assert not isinstance(raised.value, tenacity.RetryError)
    assert raised.value.__cause__ is None


# Host, port and proxy


@pytest.mark.parametrize(
    ("url", "destination"),
    [
        ("https://api.multiplay.dev", "api.multiplay.dev:443"),
        ("https://api.multiplay.dev:8443", "api.multiplay.dev:8443"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("http://localhost", "localhost:80"),
    ],
)
async def test_a_network_error_names_host_and_port(url: str, destination: str) -> None:
    """The error of a request without a response names the host and the port."""
    for error in (httpx.ConnectError("down"), httpx.ReadTimeout("")):
        async with failing(error, base_url=url) as client:
            with pytest.raises(TransportError) as raised:
                await client.image_diffs.status(5)
        assert f"GET /cfp/v1/imagediff/5/status at {destination}" in str(raised.value)


async def test_a_network_error_names_the_proxy_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a request through a proxy names the proxy as well, and says why it was not reached."""
    monkeypatch.setenv("NO_PROXY", "")
    with nobody_listens() as url:
        address = url.removeprefix("http://")
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:marked@{address}")
        async with ClanforgeClient(("key", "secret"), account_service_id=7, max_retries=0) as client:
            with pytest.raises(TransportError) as raised:
                await client.image_diffs.status(5)
    at = f"GET /cfp/v1/imagediff/5/status at api.multiplay.co.uk:443 through the proxy {address}"
    assert str(raised.value) == f"ConnectError: Connection refused ({at})"


async def test_a_host_with_several_addresses_has_the_first_reason() -> None:
    """If all addresses of a host fail, the error names the first reason, or else the transport's message."""
    refused, unknown = OSError("All connection attempts failed"), OSError("All connection attempts failed")
    refused.__cause__ = ExceptionGroup("several", [ConnectionRefusedError(111, "refused"), OSError(113, "no route")])
    for cause, reason in ((refused, "Connection refused"), (unknown, "All connection attempts failed")):
        error = httpx.ConnectError("All connection attempts failed")
        error.__cause__ = cause
        async with failing(error) as client:
            with pytest.raises(TransportError, match=f"ConnectError: {reason} "):
                await client.image_diffs.status(5)


# Timeouts


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [
        (30.0, 30.0),
        (5, 5.0),
        (0.25, 0.25),
        (httpx.Timeout(4.0), 12.0),
        (httpx.Timeout(5.0, connect=1.0, read=2.0), 8.0),
    ],
)
def test_a_silent_server_times_out(timeout: Any, seconds: float) -> None:
    """A request without a response is a `RequestTimeoutError` after exactly ``timeout``, or the sum of its phases."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        server.on("imagediff/status", 5, asyncio.Event().wait)  # type: ignore[arg-type] # never answers
        async with server.client(timeout=timeout, max_retries=0) as client:
            with pytest.raises(RequestTimeoutError, match="no response in time") as raised:
                await client.image_diffs.status(5)
        assert raised.value.request_sent is True
        assert now() == pytest.approx(seconds)
        assert server.in_flight == 0

    run()


async def test_a_transport_receives_the_timeout_of_each_phase() -> None:
    """The transport receives the phases of ``timeout``, as from httpx's own client."""
    told: list[Any] = []

    def remember(request: httpx.Request) -> httpx.Response:
        told.append(request.extensions["timeout"])
        return httpx.Response(200, json=wire(5))

    timeout = httpx.Timeout(5.0, connect=1.0)
    transport = httpx.MockTransport(remember)
    async with ClanforgeClient(("key", "secret"), account_service_id=7, transport=transport, timeout=timeout) as client:
        await client.image_diffs.status(5)
    assert told == [timeout.as_dict()]


@virtual_time
async def test_a_request_may_have_no_timeout() -> None:
    """An ``httpx.Timeout`` with an unlimited phase leaves a request unlimited."""
    server = ScriptedServer()

    async def late() -> dict[str, Any]:
        await asyncio.sleep(86400)
        return wire(5)

    server.on("imagediff/status", 5, late)
    async with server.client(timeout=httpx.Timeout(5.0, read=None)) as client:
        assert (await client.image_diffs.status(5)).id == 5
    assert now() == pytest.approx(86400)


@virtual_time
async def test_a_slow_body_times_out() -> None:
    """A body that arrives one byte at a time, each in time, is limited by the total timeout."""

    class SlowBody(httpx.AsyncByteStream):
        closed = False

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for byte in b'{"diffid": 5' + b" " * 1000:
                await asyncio.sleep(1)
                yield bytes([byte])

        async def aclose(self) -> None:
            self.closed = True

    body = SlowBody()
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=body))
    async with ClanforgeClient(
        ("key", "secret"), account_service_id=7, transport=transport, timeout=20.5, max_retries=0
    ) as client:
        with pytest.raises(RequestTimeoutError):
            await client.image_diffs.status(5)
    assert now() == pytest.approx(20.5)
    assert body.closed


@virtual_time
async def test_waiting_for_the_limits_does_not_count() -> None:
    """Time spent waiting for the limits does not count towards the timeout of a request."""
    server = ScriptedServer()

    async def slow() -> dict[str, Any]:
        await asyncio.sleep(4)
        return wire(5)

    server.on("imagediff/status", 5, slow)
    async with server.client(timeout=5.0, max_concurrency=1, max_retries=0) as client:
        await asyncio.gather(*(client.image_diffs.status(5) for _ in range(5)))
    assert now() == pytest.approx(20)


async def test_a_timeout_closes_the_connection() -> None:
    """A request that times out is cancelled, and its connection closed."""
    hung_up = asyncio.Event()

    async def wait_for_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass
        hung_up.set()
        writer.close()

    server = await asyncio.start_server(wait_for_the_end, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with (
        server,
        ClanforgeClient(("key", "secret"), base_url=f"http://127.0.0.1:{port}", timeout=0.1, max_retries=0) as client,
    ):
        with pytest.raises(RequestTimeoutError):
            await client.image_diffs.status(5)
        await asyncio.wait_for(hung_up.wait(), 5)


# Real sockets, with httpx's own transport and with aiohttp


@each_transport
@pytest.mark.parametrize("call", ["status", "retry"])
async def test_a_refused_connection_sent_nothing(call: str, over_aiohttp: bool) -> None:
    """If nothing listens, the error has ``request_sent`` False."""
    with nobody_listens() as url:
        async with ClanforgeClient(
            ("key", "secret"), base_url=url, transport=transport_of(over_aiohttp), max_retries=0
        ) as client:
            with pytest.raises(TransportError) as raised:
                await getattr(client.image_diffs, call)(5)
    assert type(raised.value) is TransportError
    assert raised.value.request_sent is False


@each_transport
@pytest.mark.parametrize(
    "content",
    [
        None,
        b"what is this?\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        http_answer(wire(5)).replace(b"Content-Length: ", b"Content-Length: 9"),
    ],
    ids=["dropped", "no HTTP", "bad chunk", "cut"],
)
async def test_a_broken_response_was_sent(content: bytes | None, over_aiohttp: bool) -> None:
    """A connection that breaks or is invalid after the request was sent has ``request_sent`` True."""
    answers = [content]
    async with (
        LoopbackServer(lambda _: answers.pop() if answers else None) as server,
        ClanforgeClient(
            ("key", "secret"),
            base_url=server.url,
            transport=transport_of(over_aiohttp),
            max_retries=0,
            timeout=httpx.Timeout(5.0, read=0.2),
        ) as client,
    ):
        with pytest.raises(TransportError) as raised:
            await client.image_diffs.status(5)
    assert raised.value.request_sent is True


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n"], ids=["status line", "header"])
async def test_an_invalid_line_is_quoted_in_part(start: bytes) -> None:
    """The error message for a very long line that is not HTTP is short."""
    async with (
        LoopbackServer(lambda _: start + b"x" * 60000 + b"\r\n\r\n") as server,
        ClanforgeClient(("key", "secret"), base_url=server.url, max_retries=0) as client,
    ):
        with pytest.raises(TransportError, match="RemoteProtocolError: ") as raised:
            await client.image_diffs.status(5)
    assert len(str(raised.value)) < 600


@each_transport
async def test_a_read_timeout_was_sent(over_aiohttp: bool) -> None:
    """No response within the read timeout is a `RequestTimeoutError` with ``request_sent`` True, on every transport."""

    async def silent(_head: str) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    async with (
        LoopbackServer(silent) as server,
        ClanforgeClient(
            ("key", "secret"),
            base_url=server.url,
            transport=transport_of(over_aiohttp),
            max_retries=0,
            timeout=httpx.Timeout(5.0, read=0.1),
        ) as client,
    ):
        with pytest.raises(RequestTimeoutError) as raised:
            await client.image_diffs.status(5)
    assert raised.value.request_sent is True


async def test_a_response_that_is_too_large_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """An attempt whose response is too large logs one line at DEBUG, as every attempt does."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=b"x" * 50))
    async with ClanforgeClient(
        ("key", "secret"), account_service_id=7, transport=transport, max_response_bytes=49
    ) as client:
        with caplog.at_level("DEBUG", "clanforge_async"), pytest.raises(InvalidResponseError):
            await client.image_diffs.status(5)
    [record] = [record for record in caplog.records if record.name == "clanforge_async"]
    assert record.getMessage() == (
        "GET /cfp/v1/imagediff/5/status: InvalidResponseError('the response is larger than 49 bytes')"
    )


@virtual_time
async def test_every_attempt_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Each attempt logs at DEBUG its path with its error, or with the status and size of its response."""
    server = ScriptedServer()
    server.diff(5, httpx.ConnectError("nobody listens"), httpx.Response(200, json=wire(5)))
    size = len(httpx.Response(200, json=wire(5)).content)
    with caplog.at_level("DEBUG", "clanforge_async"):
        async with server.client() as client:
            await client.image_diffs.status(5)
    failed, answered = [line for line in caplog.messages if line.startswith("GET /cfp/v1/imagediff/5/status: ")]
    assert "nobody listens" in failed
    assert answered.endswith(f": HTTP 200, {size} bytes")


AIOHTTP_ERRORS = [
    aiohttp.ClientError("x"),
    aiohttp.ClientConnectionError("x"),
    aiohttp.ServerDisconnectedError(),
    aiohttp.ServerTimeoutError(),
    aiohttp.ClientPayloadError("x"),
    aiohttp.TooManyRedirects(aiohttp.RequestInfo(url="x", method="GET", headers={}), ()),  # type: ignore[arg-type] # made up
]


@pytest.mark.parametrize("error", AIOHTTP_ERRORS, ids=lambda error: type(error).__name__)
async def test_no_aiohttp_exception_escapes(error: Exception) -> None:
    """Exceptions of aiohttp that httpx-aiohttp does not translate are `TransportError` with ``request_sent`` True."""
    async with failing(error) as client:
        with pytest.raises(TransportError) as raised:
            await client.image_diffs.status(5)
    assert raised.value.request_sent is True


@pytest.mark.parametrize("error", [aiohttp.InvalidURL("x"), aiohttp.ConnectionTimeoutError()])
async def test_aiohttp_connection_errors_sent_nothing(error: Exception) -> None:
    """Exceptions of aiohttp before there is a connection have ``request_sent`` False."""
    async with failing(error) as client:
        with pytest.raises(TransportError) as raised:
            await client.image_diffs.status(5)
    assert raised.value.request_sent is False
    assert isinstance(raised.value, RequestTimeoutError) is isinstance(error, TimeoutError)
