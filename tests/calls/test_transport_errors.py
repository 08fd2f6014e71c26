"""What goes wrong between here and the server: all of it comes out as one of ours, and nothing else does."""

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
over_both = pytest.mark.parametrize("over_aiohttp", [False, True])


def made(cls: type[Exception]) -> Exception:
    """Make an exception of httpx's, whose constructors differ."""
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
async def test_no_error_of_httpx_escapes(cls: type[Exception]) -> None:
    """Each exception that httpx has comes out of a call as one of ours, which knows whether the request was sent."""
    error = made(cls)
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
    # What is said of a header that cannot be sent quotes the header.
    assert raised.value.__cause__ is (None if cls is httpx.LocalProtocolError else error)
    assert ("marked" in str(raised.value)) is (
        str(error) == "marked" and not isinstance(raised.value, TimeoutError) and cls is not httpx.LocalProtocolError
    )


def test_httpx_has_errors() -> None:
    """The list that the test above goes through holds httpx's exceptions."""
    assert {httpx.ConnectError, httpx.InvalidURL, httpx.StreamClosed, httpx.CookieConflict} <= set(HTTPX_ERRORS)


@pytest.mark.parametrize("error", [OSError(104, "reset"), ConnectionResetError(), BrokenPipeError(), OSError()])
async def test_an_error_of_the_system_is_ours_too(error: OSError) -> None:
    """An ``OSError`` that a transport lets through is a `TransportError`; whether anything was sent is in doubt."""
    async with failing(error) as client:
        with pytest.raises(TransportError) as raised:
            await client.image_diffs.status(5)
    assert raised.value.request_sent is True
    assert raised.value.__cause__ is error


async def test_a_timeout_of_the_system_is_ours_too() -> None:
    """A ``TimeoutError`` that a transport lets through is a `RequestTimeoutError`."""
    async with failing(TimeoutError()) as client:
        with pytest.raises(RequestTimeoutError, match="no response in time") as raised:
            await client.image_diffs.status(5)
    assert raised.value.request_sent is True


async def test_a_timeout_before_the_connection_says_so() -> None:
    """A timeout before there was a connection is known not to have sent anything, and says what was missing."""
    async with failing(httpx.ConnectTimeout("")) as client:
        with pytest.raises(RequestTimeoutError, match="no connection in time") as raised:
            await client.image_diffs.status(5)
    assert raised.value.request_sent is False


@pytest.mark.parametrize("error", [AssertionError("unexpected"), KeyError("x"), ValueError("x"), RuntimeError("x")])
@pytest.mark.parametrize("call", ["status", "retry"])
async def test_what_is_not_of_the_network_passes(error: Exception, call: str) -> None:
    """An error that has nothing to do with the network, such as a mock's assertion, passes unchanged and at once."""
    async with failing(error, max_retries=3) as client:
        with pytest.raises(type(error)) as raised:
            await getattr(client.image_diffs, call)(5)
    assert raised.value is error


@pytest.mark.parametrize("call", ["status", "retry"])
async def test_cancellation_passes(call: str) -> None:
    """A ``CancelledError`` that a transport raises passes through, and the call is not repeated."""
    async with failing(asyncio.CancelledError(), max_retries=3) as client:
        with pytest.raises(asyncio.CancelledError):
            await getattr(client.image_diffs, call)(5)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", json.dumps(wire(5, jobupdated="soon")).encode(), json.dumps(wire(5, game=5)).encode()],
)
async def test_no_error_of_a_codec_escapes(content: bytes) -> None:
    """What json and cattrs raise comes out as `InvalidResponseError`, alone."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=content))
    async with ClanforgeClient(("key", "secret"), account_service_id=7, transport=transport) as client:
        with pytest.raises(InvalidResponseError) as raised:
            await client.image_diffs.status(5)
    assert not isinstance(raised.value, json.JSONDecodeError | cattrs.BaseValidationError)


@virtual_time
async def test_no_error_of_tenacity_escapes() -> None:
    """When the last attempt has failed its own error is raised, not tenacity's."""
    server = ScriptedServer()
    server.diff(5, httpx.Response(500))
    async with server.client() as client:
        with pytest.raises(ClanforgeError) as raised:
            await client.image_diffs.status(5)
    assert not isinstance(raised.value, tenacity.RetryError)
    assert raised.value.__cause__ is None


# Time


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
def test_a_server_that_never_answers_is_given_up(timeout: Any, seconds: float) -> None:
    """A request without an answer is a `RequestTimeoutError` after exactly ``timeout``, or the sum of its phases."""

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


async def test_a_transport_is_told_what_each_phase_may_take() -> None:
    """The phases of a ``timeout`` reach the transport, as those of httpx's own client do."""
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
async def test_no_timeout_at_all_is_possible() -> None:
    """With an ``httpx.Timeout`` that leaves a phase open a request may take as long as it likes."""
    server = ScriptedServer()

    async def late() -> dict[str, Any]:
        await asyncio.sleep(86400)
        return wire(5)

    server.on("imagediff/status", 5, late)
    async with server.client(timeout=httpx.Timeout(5.0, read=None)) as client:
        assert (await client.image_diffs.status(5)).id == 5
    assert now() == pytest.approx(86400)


@virtual_time
async def test_a_dripping_body_is_given_up() -> None:
    """A body that comes a byte at a time, each in time, is bounded by the timeout as a whole."""

    class Dripping(httpx.AsyncByteStream):
        closed = False

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for byte in b'{"diffid": 5' + b" " * 1000:
                await asyncio.sleep(1)
                yield bytes([byte])

        async def aclose(self) -> None:
            self.closed = True

    body = Dripping()
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=body))
    async with ClanforgeClient(
        ("key", "secret"), account_service_id=7, transport=transport, timeout=20.5, max_retries=0
    ) as client:
        with pytest.raises(RequestTimeoutError):
            await client.image_diffs.status(5)
    assert now() == pytest.approx(20.5)
    assert body.closed


@virtual_time
async def test_the_time_at_the_limits_is_not_the_requests() -> None:
    """What a call waits for its turn does not count towards a request's timeout."""
    server = ScriptedServer()

    async def slow() -> dict[str, Any]:
        await asyncio.sleep(4)
        return wire(5)

    server.on("imagediff/status", 5, slow)
    async with server.client(timeout=5.0, max_concurrency=1, max_retries=0) as client:
        await asyncio.gather(*(client.image_diffs.status(5) for _ in range(5)))
    assert now() == pytest.approx(20)


async def test_a_timeout_cancels_what_the_transport_does() -> None:
    """A request that is given up is over for the server too: its connection is closed."""
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


# On real sockets, over httpx's own transport and over aiohttp


@over_both
@pytest.mark.parametrize("call", ["status", "retry"])
async def test_a_refused_connection_sent_nothing(call: str, over_aiohttp: bool) -> None:
    """Where nobody listens nothing was sent, and the error knows."""
    with nobody_listens() as url:
        async with ClanforgeClient(
            ("key", "secret"), base_url=url, transport=transport_of(over_aiohttp), max_retries=0
        ) as client:
            with pytest.raises(TransportError) as raised:
                await getattr(client.image_diffs, call)(5)
    assert type(raised.value) is TransportError
    assert raised.value.request_sent is False


@over_both
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
async def test_an_answer_that_breaks_off_was_asked_for(content: bytes | None, over_aiohttp: bool) -> None:
    """A connection that breaks, or talks nonsense, after the request was sent is not taken for one never made."""
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
async def test_a_line_that_is_no_http_is_not_quoted_whole(start: bytes) -> None:
    """However long a line is that the parser refuses, the error's message is not."""
    async with (
        LoopbackServer(lambda _: start + b"x" * 60000 + b"\r\n\r\n") as server,
        ClanforgeClient(("key", "secret"), base_url=server.url, max_retries=0) as client,
    ):
        with pytest.raises(TransportError, match="RemoteProtocolError: ") as raised:
            await client.image_diffs.status(5)
    assert len(str(raised.value)) < 600


@over_both
async def test_a_server_that_stays_silent_is_a_timeout(over_aiohttp: bool) -> None:
    """No answer within the read timeout is a `RequestTimeoutError` for a request that was sent, on every transport."""

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


async def test_an_attempt_that_brought_too_much_is_logged_as_any_other(caplog: pytest.LogCaptureFixture) -> None:
    """An answer that is refused while it is read leaves the one line at DEBUG that every attempt leaves."""
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
async def test_every_attempt_leaves_a_line_of_what_came_of_it(caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG each attempt is logged with its path and with its error, or the status and the size of its answer."""
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
async def test_what_aiohttp_lets_through_is_ours(error: Exception) -> None:
    """aiohttp's own errors, which httpx-aiohttp does not all translate, come out as ours; sent, for all one knows."""
    async with failing(error) as client:
        with pytest.raises(TransportError) as raised:
            await client.image_diffs.status(5)
    assert raised.value.request_sent is True


@pytest.mark.parametrize("error", [aiohttp.InvalidURL("x"), aiohttp.ConnectionTimeoutError()])
async def test_aiohttp_knows_what_it_did_not_send(error: Exception) -> None:
    """What aiohttp raises before there is a connection sent nothing."""
    async with failing(error) as client:
        with pytest.raises(TransportError) as raised:
            await client.image_diffs.status(5)
    assert raised.value.request_sent is False
    assert isinstance(raised.value, RequestTimeoutError) is isinstance(error, TimeoutError)
