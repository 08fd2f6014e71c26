"""The three API calls: the request that each sends, and the result or error of each response."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import respx
from support.loopback_server import LoopbackServer, http_answer
from support.scripted_server import ScriptedServer, answer, envelope, wire
from support.virtual_time import virtual_time

from clanforge_async import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ClanforgeClient,
    ClanforgeError,
    ImageDiffJob,
    ImageLockedError,
    ImageVersionJob,
    InvalidResponseError,
    JobKind,
    JobRef,
    JobState,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    job_from_dict,
)

API = "https://api.multiplay.co.uk/cfp/v1"
STATUSES: dict[int, type[APIError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: APIError,
    418: APIError,
    429: RateLimitError,
    500: ServerError,
    501: ServerError,
    502: ServerError,
    503: ServerError,
    504: ServerError,
    599: ServerError,
    600: APIError,
}
each_status = pytest.mark.parametrize(("status", "error"), STATUSES.items())
CALLS: dict[str, Callable[[ClanforgeClient], Any]] = {
    "diff status": lambda client: client.image_diffs.status(5),
    "diff retry": lambda client: client.image_diffs.retry(5),
    "version status": lambda client: client.image_versions.status(9),
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def client_of(response: httpx.Response, **options: Any) -> ClanforgeClient:
    arguments = {"account_service_id": 7, "max_retries": 0, "max_rate": None} | options
    return ClanforgeClient(("key", "secret"), transport=httpx.MockTransport(lambda _: response), **arguments)


async def error_of(response: httpx.Response, **options: Any) -> ClanforgeError:
    async with client_of(response, **options) as client:
        with pytest.raises(ClanforgeError) as raised:
            await client.image_diffs.status(5)
    return raised.value


# Requests


@pytest.mark.parametrize(
    ("call", "address"),
    [
        (lambda client: client.image_diffs.status(5), f"{API}/imagediff/5/status?accountserviceid=7"),
        (
            lambda client: client.image_diffs.status(5, include_details=True),
            f"{API}/imagediff/5/status?accountserviceid=7&diff_info=1",
        ),
        (lambda client: client.image_diffs.status(5, True), f"{API}/imagediff/5/status?accountserviceid=7&diff_info=1"),
        (lambda client: client.image_diffs.retry(5), f"{API}/imagediff/5/retry?accountserviceid=7"),
        (lambda client: client.image_versions.status(9012), f"{API}/imageversion/9012/status?accountserviceid=7"),
        (lambda client: client.image_diffs.status(10**30), f"{API}/imagediff/{10**30}/status?accountserviceid=7"),
    ],
)
@respx.mock(using="httpx")
async def test_a_call_requests_the_documented_url(
    respx_mock: respx.Router, call: Callable[[ClanforgeClient], Any], address: str
) -> None:
    """Each call is one GET of the documented path, with the account id and without a body."""
    respx_mock.route().mock(return_value=httpx.Response(200, json=wire(int(address.split("/")[6]))))
    transport = httpx.MockTransport(respx_mock.async_handler)
    async with ClanforgeClient(("key", "secret"), account_service_id=7, transport=transport) as client:
        await call(client)
    (asked,) = (item.request for item in respx_mock.calls)
    assert (asked.method, str(asked.url), await asked.aread()) == ("GET", address, b"")


@each_call
async def test_a_call_sends_the_required_headers(call: Callable[[ClanforgeClient], Any]) -> None:
    """Each request has the vendor's content type, accepts JSON, and bypasses caches."""
    async with (
        LoopbackServer(lambda head: http_answer(wire(int(head.split("/")[4])))) as server,
        ClanforgeClient(("key", "secret"), base_url=server.url) as client,
    ):
        await call(client)
    (head,) = server.requests
    headers = httpx.Headers([line.split(": ", 1) for line in head.split("\r\n")[1:] if line])  # type: ignore[arg-type] # pairs
    assert headers["Host"] == f"127.0.0.1:{server.port}"
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert headers["Accept"] == "application/json"
    assert headers["Cache-Control"] == "no-cache"
    assert headers["User-Agent"].startswith("clanforge-async/")
    assert headers.get("Content-Length", "0") == "0"
    assert "Transfer-Encoding" not in headers


@pytest.mark.parametrize("bad_id", [True, False, "5", 5.0, None, b"5", [5]])
@pytest.mark.parametrize(
    "call",
    [
        lambda client, job_id: client.image_diffs.status(job_id),
        lambda client, job_id: client.image_diffs.retry(job_id),
        lambda client, job_id: client.image_versions.status(job_id),
    ],
)
async def test_an_id_of_another_type_is_never_sent(call: Callable[[ClanforgeClient, Any], Any], bad_id: Any) -> None:
    """An id that is not an ``int`` is a ``TypeError`` before any request."""
    server = ScriptedServer()
    async with server.client() as client:
        with pytest.raises(TypeError, match="_id must be an int, not"):
            await call(client, bad_id)
    assert server.requests == []


@pytest.mark.parametrize("bad_id", [0, -1, -(10**20)])
@pytest.mark.parametrize(
    "call",
    [
        lambda client, job_id: client.image_diffs.status(job_id),
        lambda client, job_id: client.image_diffs.retry(job_id),
        lambda client, job_id: client.image_versions.status(job_id),
    ],
)
async def test_an_id_that_is_not_positive_is_never_sent(
    call: Callable[[ClanforgeClient, int], Any], bad_id: int
) -> None:
    """An id of 0 or less is a ``ValueError`` before any request."""
    server = ScriptedServer()
    async with server.client() as client:
        with pytest.raises(ValueError, match="_id must be positive, not"):
            await call(client, bad_id)
    assert server.requests == []


# Responses


@virtual_time
async def test_a_response_becomes_a_job() -> None:
    """Each call returns the job of its response, with the class of its kind."""
    server = ScriptedServer()
    server.diff(5, wire(5, added={"a": {}}, game={"gameid": 1}))
    server.retry(5, wire(5, JobState.QUEUED))
    server.version(9, wire(9, JobState.FAILED))
    async with server.client() as client:
        diff = await client.image_diffs.status(5, include_details=True)
        retried = await client.image_diffs.retry(5)
        version = await client.image_versions.status(9)
    assert diff == job_from_dict(JobKind.IMAGE_DIFF, wire(5, added={"a": {}}, game={"gameid": 1}))
    assert (type(diff), diff.added, diff.ref) == (ImageDiffJob, {"a": {}}, JobRef.image_diff(5))
    assert (type(retried), retried.state) == (ImageDiffJob, JobState.QUEUED)
    assert (type(version), version.state, version.ref) == (ImageVersionJob, JobState.FAILED, JobRef.image_version(9))


def raw_deflate(content: bytes) -> bytes:
    return zlib.compress(content, wbits=-zlib.MAX_WBITS)


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("GZip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("identity", bytes),
        ("", bytes),
    ],
)
async def test_a_compressed_response_is_decompressed(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    """A response may use each encoding that the request accepts; deflate with its zlib header or without."""
    content = compress(json.dumps(wire(5)).encode())

    class Pieces(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for start in range(0, len(content), 7):
                yield content[start : start + 7]

    async with client_of(httpx.Response(200, stream=Pieces(), headers={"Content-Encoding": encoding})) as client:
        assert (await client.image_diffs.status(5)).id == 5


async def test_a_body_may_come_from_any_async_iterator() -> None:
    """The stream of a transport may be any async iterator, not only a generator."""

    class Once(httpx.AsyncByteStream):
        def __init__(self) -> None:
            self.left = [json.dumps(wire(5)).encode()]

        def __aiter__(self) -> AsyncIterator[bytes]:
            return self

        async def __anext__(self) -> bytes:
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop()

    async with client_of(httpx.Response(200, stream=Once())) as client:
        assert (await client.image_diffs.status(5)).id == 5


async def test_an_encoding_that_was_not_requested_is_an_invalid_response() -> None:
    """A ``Content-Encoding`` that `Accept-Encoding` does not list is an `InvalidResponseError`."""
    raised = await error_of(httpx.Response(200, stream=httpx.ByteStream(b"x"), headers={"Content-Encoding": "br"}))
    assert type(raised) is InvalidResponseError
    assert "br" in str(raised)


async def test_a_response_that_the_transport_has_read_is_accepted() -> None:
    """A transport may return a response whose body it has read, as caches do; the size limit still applies."""

    class Cache(httpx.AsyncBaseTransport):
        async def handle_async_request(self, _request: httpx.Request) -> httpx.Response:
            content = gzip.compress(json.dumps(wire(5)).encode())
            response = httpx.Response(200, stream=httpx.ByteStream(content), headers={"Content-Encoding": "gzip"})
            await response.aread()
            return response

    async with ClanforgeClient(("key", "secret"), account_service_id=7, transport=Cache()) as client:
        assert (await client.image_diffs.status(5)).id == 5
    async with ClanforgeClient(
        ("key", "secret"), account_service_id=7, transport=Cache(), max_response_bytes=100, max_retries=0
    ) as client:
        with pytest.raises(InvalidResponseError, match="larger than 100 bytes"):
            await client.image_diffs.status(5)


@pytest.mark.parametrize("status", [200, 201, 202, 206, 299])
async def test_any_success_status_may_hold_a_job(status: int) -> None:
    """A job under any 2xx status is returned."""
    async with client_of(httpx.Response(status, json=wire(5))) as client:
        assert (await client.image_diffs.status(5)).id == 5


@each_status
async def test_each_status_has_its_error_class(status: int, error: type[APIError]) -> None:
    """The status decides the class, and the error has the details of the response."""
    raised = await error_of(httpx.Response(status, json=envelope("not today", 12)))
    assert type(raised) is error
    assert isinstance(raised, APIError)
    assert (raised.status_code, raised.error_code, raised.message) == (status, 12, "not today")
    assert (raised.method, raised.url) == ("GET", f"{API}/imagediff/5/status")
    assert json.loads(raised.body) == envelope("not today", 12)
    assert str(raised) == f"not today (HTTP {status}, error code 12: GET {API}/imagediff/5/status)"


@each_status
@pytest.mark.parametrize(
    "content",
    [b"<html><h1>Bad Gateway</h1></html>", b"", b"[1, 2]", b'"no"', b"null", b"5", b"{", b"\xff\xfe", b"[" * 100_000],
    ids=["html", "empty", "list", "text", "null", "number", "cut", "binary", "deep"],
)
async def test_a_status_decides_without_an_envelope(status: int, error: type[APIError], content: bytes) -> None:
    """With HTML, an empty body or other JSON, only the status decides the error."""
    raised = await error_of(httpx.Response(status, content=content))
    assert type(raised) is error
    assert isinstance(raised, APIError)
    assert (raised.status_code, raised.error_code) == (status, None)
    assert raised.message
    assert raised.body == content[:2048].decode(errors="replace")


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (envelope("no such thing", 12), "no such thing", 12),
        ({"success": False}, "OK", None),
        ({"error": True}, "OK", None),
        ({"success": "false", "error_message": "no"}, "no", None),
        ({"success": 0, "message": "no"}, "no", None),
        ({"error": "true", "error_code": "12", "error_message": "no"}, "no", 12),
        ({"success": False, "error": "no such thing"}, "no such thing", None),
        ({"error": 1, "messages": ["no", "never"]}, "no", None),
        ({"error": True, "error_message": "", "messages": [5, None, "no"]}, "no", None),
        ({"error": True, "error_message": 5, "messages": "no", "error_code": [1]}, "OK", None),
        ({"success": False, "error_code": 1.5, "error_message": "x" * 10_000}, "x" * 500, None),
        (wire(5, success=False), "OK", None),
        (wire(5, error=True, error_message="no"), "no", None),
    ],
)
async def test_an_envelope_is_an_error_with_status_200(body: Any, message: str, code: int | None) -> None:
    """``success`` false or ``error`` true, in any spelling, is an `APIError` under any status."""
    raised = await error_of(httpx.Response(200, json=body))
    assert type(raised) is APIError
    assert (raised.status_code, raised.message, raised.error_code) == (200, message, code)


@pytest.mark.parametrize("text", ["forbidden", "Forbidden", " FORBIDDEN "])
async def test_forbidden_is_a_permission_error(text: str) -> None:
    """The message ``forbidden`` means the same with status 200 as with 403."""
    assert type(await error_of(httpx.Response(200, json=envelope(text)))) is PermissionDeniedError


@pytest.mark.parametrize("body", [wire(5, success=True, error=False), wire(5, error=None), wire(5, error="none")])
async def test_an_envelope_without_an_error_is_a_job(body: Any) -> None:
    """A job with flags that report no error is a job."""
    async with client_of(httpx.Response(200, json=body)) as client:
        assert (await client.image_diffs.status(5)).id == 5


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 409, 429, 500, 502])
@pytest.mark.parametrize(
    "body",
    [
        envelope("image locked by diffid: 218595"),
        envelope("Image locked by diffid:218595"),
        envelope("cannot update: image locked by diffid: 218595, accept or reject it"),
        {"success": False, "error_message": "failed", "messages": ["image locked by diffid: 218595"]},
    ],
)
async def test_a_locked_image_is_detected_under_any_status(status: int, body: Any) -> None:
    """The message that a diff locks the image is an `ImageLockedError` with the diff's id, under any status."""
    raised = await error_of(httpx.Response(status, json=body))
    assert type(raised) is ImageLockedError
    assert (raised.diff_id, raised.status_code) == (218595, status)
    assert raised.message == body["error_message"]


@pytest.mark.parametrize("status", [200, 500])
async def test_a_lock_with_a_large_id(status: int) -> None:
    """The id in a message about a lock may be an integer of any size."""
    raised = await error_of(httpx.Response(status, json=envelope("image locked by updateid: " + "9" * 40)))
    assert isinstance(raised, ImageLockedError)
    assert raised.holder == JobRef.image_update(int("9" * 40))


async def test_a_lock_without_a_valid_id_is_a_plain_error() -> None:
    """A lock message with too many digits for an id is an `APIError`, not an `ImageLockedError`."""
    raised = await error_of(httpx.Response(200, json=envelope("image locked by diffid: " + "9" * 5000)))
    assert type(raised) is APIError


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("content", [b"", b"<html>moved</html>", b'{"message": "Moved", "error": true}'])
async def test_a_redirect_is_never_followed(status: int, content: bytes) -> None:
    """A redirect is an `APIError` that names its target, whatever its body, and nothing is sent there."""
    asked = []

    def redirect(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(status, content=content, headers={"Location": "https://elsewhere.example/api"})

    async with ClanforgeClient(
        ("key", "secret"), account_service_id=7, transport=httpx.MockTransport(redirect)
    ) as client:
        with pytest.raises(APIError, match=r"https://elsewhere\.example/api") as raised:
            await client.image_diffs.status(5)
        with pytest.raises(APIError, match=r"https://elsewhere\.example/api"):
            await client.image_diffs.retry(5)
    assert type(raised.value) is APIError
    assert raised.value.status_code == status
    assert len(asked) == 2


async def test_a_redirect_without_a_target_is_an_error() -> None:
    """A redirect status without a ``Location`` is an `APIError` with the reason phrase of the status."""
    raised = await error_of(httpx.Response(304))
    assert str(raised).startswith("Not Modified (HTTP 304")


@pytest.mark.parametrize("status", [200, 204])
@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"[]", b'"job"', b"null", b"5", b"true", b'{"diffid": 5', b"\xff", b"[" * 100_000],
)
async def test_a_success_without_an_object_is_an_invalid_response(status: int, content: bytes) -> None:
    """A body that is not a JSON object is an `InvalidResponseError` that keeps the start of the body."""
    raised = await error_of(httpx.Response(status, content=content))
    assert type(raised) is InvalidResponseError
    assert (raised.fields, raised.body) == ((), content[:2048].decode(errors="replace"))
    assert str(raised) == "the response is not a JSON object"


async def test_an_object_that_is_not_a_job_is_an_invalid_response() -> None:
    """A body with missing or malformed fields is an `InvalidResponseError` with their names and the original body."""
    body = b'{"diffid":   "five", "jobcreated": 1.5}'
    raised = await error_of(httpx.Response(200, content=body))
    assert isinstance(raised, InvalidResponseError)
    assert set(raised.fields) >= {"diffid", "jobcreated", "jobupdated"}
    assert raised.body == body.decode()


@pytest.mark.parametrize("field", ["diffid", "jobstatename", "joberror", "added", "success", "else"])
async def test_deeply_nested_json_raises_no_recursion_error(field: str) -> None:
    """JSON nested to any depth, up to Python's limit too, is parsed or is an `InvalidResponseError`."""
    escaped = []
    for depth in [100, *range(880, 1001)]:
        body = json.dumps(wire(5) | {field: "@"}).replace('"@"', "[" * depth + "]" * depth)
        async with client_of(httpx.Response(200, content=body.encode())) as client:
            try:
                await client.image_diffs.status(5)
            except InvalidResponseError:
                continue
            except RecursionError:
                escaped.append(depth)
    assert escaped == []


@pytest.mark.parametrize(
    "response", [httpx.Response(500, content=b"x" * 5000), httpx.Response(200, content=b"x" * 5000)]
)
async def test_an_error_keeps_2_kib_of_the_body(response: httpx.Response) -> None:
    """An error keeps the first 2 KiB of a large body."""
    raised = await error_of(response)
    assert isinstance(raised, APIError | InvalidResponseError)
    assert raised.body == "x" * 2048


@pytest.mark.parametrize("status", [200, 500])
async def test_a_body_may_be_as_large_as_the_limit(status: int) -> None:
    """A body of exactly ``max_response_bytes`` is read; one byte more is an error under any status."""
    body = json.dumps(wire(5)).encode()
    size = len(body)
    if status == 200:
        async with client_of(httpx.Response(200, content=body), max_response_bytes=size) as client:
            assert (await client.image_diffs.status(5)).id == 5
    raised = await error_of(httpx.Response(status, content=body), max_response_bytes=size - 1)
    assert type(raised) is InvalidResponseError
    assert f"larger than {size - 1} bytes" in str(raised)
    assert raised.body == body[:2048].decode()


async def test_a_body_that_is_too_large_is_not_read_completely() -> None:
    """Reading stops at the size limit, and the response is closed."""

    class Endless(httpx.AsyncByteStream):
        sent = 0
        closed = False

        async def __aiter__(self) -> Any:
            while True:
                self.sent += 1000
                yield b"x" * 1000

        async def aclose(self) -> None:
            self.closed = True

    stream = Endless()
    raised = await error_of(httpx.Response(200, stream=stream), max_response_bytes=10_000)
    assert type(raised) is InvalidResponseError
    assert raised.body == "x" * 2048
    assert stream.sent <= 11_000
    assert stream.closed


@pytest.mark.parametrize("encodings", [["gzip"], ["gzip", "gzip"]], ids=["once", "twice"])
async def test_a_decompression_bomb_is_rejected(encodings: list[str]) -> None:
    """A body that is small when compressed and large when decompressed is rejected before it fills the memory."""
    bomb = gzip.compress(bytes(100 * 2**20), compresslevel=1)
    for _ in encodings[1:]:
        bomb = gzip.compress(bomb)
    content = http_answer(bomb, Content_Encoding=", ".join(encodings))
    async with (
        LoopbackServer(lambda _: content) as server,
        ClanforgeClient(("key", "secret"), base_url=server.url, max_retries=0, max_response_bytes=10_000) as client,
    ):
        tracemalloc.start()
        try:
            with pytest.raises(InvalidResponseError):
                await client.image_diffs.status(5)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("content", [b"not gzip", gzip.compress(json.dumps(wire(5)).encode())[:-20] + b"x" * 20])
async def test_a_body_that_does_not_decompress_is_an_invalid_response(content: bytes) -> None:
    """A body that does not match its ``Content-Encoding`` is an `InvalidResponseError`."""
    raised = await error_of(httpx.Response(200, stream=httpx.ByteStream(content), headers={"Content-Encoding": "gzip"}))
    assert type(raised) is InvalidResponseError


@virtual_time
async def test_an_observer_reads_a_status_once() -> None:
    """An `observer` makes one attempt, and returns the server's time with the job."""
    server = ScriptedServer()
    server.diff(5, answer(wire(5)))
    server.version(9, httpx.Response(503))
    async with server.client() as client:
        response = await client.observer(JobRef.image_diff(5))()
        assert response.value.ref == JobRef.image_diff(5)
        assert response.server_time is not None
        with pytest.raises(ServerError):
            await client.observer(JobRef.image_version(9))()
    assert len(server.polls(9)) == 1


@pytest.mark.parametrize(
    ("date", "is_known"),
    [
        ("Sat, 22 Nov 2025 00:00:00 GMT", True),
        ("Saturday, 22-Nov-25 00:00:00 GMT", True),
        ("Sat Nov 22 00:00:00 2025", True),
        ("Sat, 22 Nov 2025 01:00:00 +0100", True),
        ("yesterday", False),
        ("", False),
        ("Sat, 99 Nov 2025 00:00:00 GMT", False),
        ("Fri, 31 Dec 9999 23:59:59 -0100", False),
        (None, False),
    ],
)
async def test_the_server_time_is_in_utc_or_unknown(date: str | None, is_known: bool) -> None:
    """The ``Date`` header is parsed in each of its formats; an invalid one is treated as missing."""
    headers = {} if date is None else {"Date": date}
    async with client_of(httpx.Response(200, json=wire(5), headers=headers)) as client:
        response = await client.observer(JobRef.image_diff(5))()
    assert (response.server_time is not None) == is_known
    if response.server_time is not None:
        assert response.server_time.isoformat() == "2025-11-22T00:00:00+00:00"


@pytest.mark.parametrize("call", ["status", "retry"])
async def test_the_latest_datetime_is_parsed(call: str) -> None:
    """A server clock at the last second that a datetime can represent causes no error."""
    late = {"Date": "Fri, 31 Dec 9999 23:59:59 GMT"}
    body = wire(5, JobState.COMPLETED, jobupdated=253402300799)
    async with client_of(httpx.Response(200, json=body, headers=late)) as client:
        assert (await getattr(client.image_diffs, call)(5)).is_completed


@pytest.mark.parametrize(("status", "message"), [(404, "Not Found"), (599, "an unknown status")])
async def test_only_a_redirect_names_a_target(status: int, message: str) -> None:
    """``Location`` is ignored unless the status is a redirect; an unknown status has its own message."""
    headers = {"Location": "https://elsewhere.example/"}
    transport = httpx.MockTransport(lambda _: httpx.Response(status, headers=headers))
    async with ClanforgeClient(("key", "secret"), account_service_id=7, transport=transport, max_retries=0) as client:
        with pytest.raises(APIError) as raised:
            await client.image_diffs.status(5)
    assert raised.value.message == message
