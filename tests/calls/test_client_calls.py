"""The three calls on the wire: what is asked, and what each answer becomes."""

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


async def refusal(response: httpx.Response, **options: Any) -> ClanforgeError:
    async with client_of(response, **options) as client:
        with pytest.raises(ClanforgeError) as refused:
            await client.image_diffs.status(5)
    return refused.value


# What is asked


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
async def test_a_call_asks_what_is_documented(
    respx_mock: respx.Router, call: Callable[[ClanforgeClient], Any], address: str
) -> None:
    """Each call is one GET of the documented path, with the account, and without a body."""
    respx_mock.route().mock(return_value=httpx.Response(200, json=wire(5)))
    transport = httpx.MockTransport(respx_mock.async_handler)
    async with ClanforgeClient(("key", "secret"), account_service_id=7, transport=transport) as client:
        await call(client)
    (asked,) = (item.request for item in respx_mock.calls)
    assert (asked.method, str(asked.url), await asked.aread()) == ("GET", address, b"")


@each_call
async def test_a_call_carries_what_the_vendor_asks_for(call: Callable[[ClanforgeClient], Any]) -> None:
    """Each request says its content type as the vendor asks, wants JSON, and none from a cache."""
    async with (
        LoopbackServer(lambda _: http_answer(wire(5))) as server,
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
    """An id that is no ``int`` is a ``TypeError`` before any request."""
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
async def test_an_id_that_no_job_has_is_never_sent(call: Callable[[ClanforgeClient, int], Any], bad_id: int) -> None:
    """An id of 0 or less is a ``ValueError`` before any request."""
    server = ScriptedServer()
    async with server.client() as client:
        with pytest.raises(ValueError, match="_id must be positive, not"):
            await call(client, bad_id)
    assert server.requests == []


# What an answer becomes


@virtual_time
async def test_an_answer_becomes_a_job() -> None:
    """Each call gives the job of its kind that its answer holds."""
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


def without_header(content: bytes) -> bytes:
    return zlib.compress(content, wbits=-zlib.MAX_WBITS)


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("GZip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", without_header),
        ("identity", bytes),
        ("", bytes),
    ],
)
async def test_a_compressed_answer_is_read(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    """An answer may come compressed, in each way that is asked for; deflate with its header or without."""
    content = compress(json.dumps(wire(5)).encode())

    class Pieces(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for start in range(0, len(content), 7):
                yield content[start : start + 7]

    async with client_of(httpx.Response(200, stream=Pieces(), headers={"Content-Encoding": encoding})) as client:
        assert (await client.image_diffs.status(5)).id == 5


async def test_a_body_may_come_from_any_kind_of_iterator() -> None:
    """A transport's stream need not be a generator."""

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


async def test_an_answer_encoded_in_a_way_that_nobody_asked_for_is_unreadable() -> None:
    """A body encoded otherwise than `Accept-Encoding` says is an `InvalidResponseError`, not a guess."""
    refused = await refusal(httpx.Response(200, stream=httpx.ByteStream(b"x"), headers={"Content-Encoding": "br"}))
    assert type(refused) is InvalidResponseError
    assert "br" in str(refused)


async def test_an_answer_that_its_transport_has_read_is_taken_as_it_is() -> None:
    """A transport may hand over an answer that it has read to the end, as caches do; its size counts all the same."""

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
async def test_any_success_may_carry_a_job(status: int) -> None:
    """A job under any status of success is read."""
    async with client_of(httpx.Response(status, json=wire(5))) as client:
        assert (await client.image_diffs.status(5)).id == 5


@each_status
async def test_each_status_is_an_error_of_its_class(status: int, error: type[APIError]) -> None:
    """The status decides the class, and what is known of the answer stands on the error."""
    refused = await refusal(httpx.Response(status, json=envelope("not today", 12)))
    assert type(refused) is error
    assert isinstance(refused, APIError)
    assert (refused.status_code, refused.error_code, refused.message) == (status, 12, "not today")
    assert (refused.method, refused.url) == ("GET", f"{API}/imagediff/5/status")
    assert json.loads(refused.body) == envelope("not today", 12)
    assert str(refused) == f"not today (HTTP {status}, error code 12: GET {API}/imagediff/5/status)"


@each_status
@pytest.mark.parametrize(
    "content",
    [b"<html><h1>Bad Gateway</h1></html>", b"", b"[1, 2]", b'"no"', b"null", b"5", b"{", b"\xff\xfe", b"[" * 100_000],
    ids=["html", "empty", "list", "text", "null", "number", "cut", "binary", "deep"],
)
async def test_a_status_tells_without_an_envelope(status: int, error: type[APIError], content: bytes) -> None:
    """A gateway's HTML, an empty body and other JSON leave the status to tell."""
    refused = await refusal(httpx.Response(status, content=content))
    assert type(refused) is error
    assert isinstance(refused, APIError)
    assert (refused.status_code, refused.error_code) == (status, None)
    assert refused.message
    assert refused.body == content[:2048].decode(errors="replace")


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
async def test_an_envelope_is_an_error_under_200_too(body: Any, message: str, code: int | None) -> None:
    """``success`` false or ``error`` true, however written, is an `APIError` whatever the status says."""
    refused = await refusal(httpx.Response(200, json=body))
    assert type(refused) is APIError
    assert (refused.status_code, refused.message, refused.error_code) == (200, message, code)


@pytest.mark.parametrize("text", ["forbidden", "Forbidden", " FORBIDDEN "])
async def test_forbidden_is_a_permission(text: str) -> None:
    """``forbidden`` means the same under 200 as under 403."""
    assert type(await refusal(httpx.Response(200, json=envelope(text)))) is PermissionDeniedError


@pytest.mark.parametrize("body", [wire(5, success=True, error=False), wire(5, error=None), wire(5, error="none")])
async def test_an_envelope_that_complains_of_nothing_is_a_job(body: Any) -> None:
    """A job beside flags that say that all is well is a job."""
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
async def test_a_locked_image_is_known_under_any_status(status: int, body: Any) -> None:
    """An image that is locked by a diff is an `ImageLockedError` with the diff's id, whatever the status."""
    refused = await refusal(httpx.Response(status, json=body))
    assert type(refused) is ImageLockedError
    assert (refused.diff_id, refused.status_code) == (218595, status)
    assert refused.message == body["error_message"]


async def test_a_lock_by_no_id_is_an_error_like_any_other() -> None:
    """Digits that make no id of a diff, however many, are no `ImageLockedError`, and nothing that is not ours."""
    refused = await refusal(httpx.Response(200, json=envelope("image locked by diffid: " + "9" * 5000)))
    assert type(refused) is APIError


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("content", [b"", b"<html>moved</html>", b'{"message": "Moved", "error": true}'])
async def test_a_redirect_is_never_followed(status: int, content: bytes) -> None:
    """A redirect is an `APIError` that names its target, whatever its body says, and nothing is sent there."""
    asked = []

    def redirect(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(status, content=content, headers={"Location": "https://elsewhere.example/api"})

    async with ClanforgeClient(
        ("key", "secret"), account_service_id=7, transport=httpx.MockTransport(redirect)
    ) as client:
        with pytest.raises(APIError, match=r"https://elsewhere\.example/api") as refused:
            await client.image_diffs.status(5)
        with pytest.raises(APIError, match=r"https://elsewhere\.example/api"):
            await client.image_diffs.retry(5)
    assert type(refused.value) is APIError
    assert refused.value.status_code == status
    assert len(asked) == 2


async def test_a_redirect_to_nowhere_is_an_error_too() -> None:
    """A status of redirection without a target is an `APIError` in the status's words."""
    refused = await refusal(httpx.Response(304))
    assert str(refused).startswith("Not Modified (HTTP 304")


@pytest.mark.parametrize("status", [200, 204])
@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"[]", b'"job"', b"null", b"5", b"true", b'{"diffid": 5', b"\xff", b"[" * 100_000],
)
async def test_a_success_without_an_object_is_unreadable(status: int, content: bytes) -> None:
    """A body that is no JSON object is an `InvalidResponseError` with the start of it."""
    refused = await refusal(httpx.Response(status, content=content))
    assert type(refused) is InvalidResponseError
    assert (refused.fields, refused.body) == ((), content[:2048].decode(errors="replace"))
    assert str(refused) == "the response is not a JSON object"


async def test_an_object_that_is_no_job_is_unreadable() -> None:
    """A body of the wrong shape is an `InvalidResponseError` that names the fields, with the body as it came."""
    body = b'{"diffid":   "five", "jobcreated": 1.5}'
    refused = await refusal(httpx.Response(200, content=body))
    assert isinstance(refused, InvalidResponseError)
    assert set(refused.fields) >= {"diffid", "jobcreated", "jobupdated"}
    assert refused.body == body.decode()


@pytest.mark.parametrize("field", ["diffid", "jobstatename", "joberror", "added", "success", "else"])
async def test_no_depth_escapes(field: str) -> None:
    """JSON nested to any depth, also just to where Python gives up, is read or refused like every other."""
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
    """Of a large body an error keeps the first 2 KiB."""
    refused = await refusal(response)
    assert isinstance(refused, APIError | InvalidResponseError)
    assert refused.body == "x" * 2048


@pytest.mark.parametrize("status", [200, 500])
async def test_a_body_may_be_as_large_as_allowed(status: int) -> None:
    """A body of exactly ``max_response_bytes`` is read; one byte more is refused, whatever the status."""
    body = json.dumps(wire(5)).encode()
    size = len(body)
    if status == 200:
        async with client_of(httpx.Response(200, content=body), max_response_bytes=size) as client:
            assert (await client.image_diffs.status(5)).id == 5
    refused = await refusal(httpx.Response(status, content=body), max_response_bytes=size - 1)
    assert type(refused) is InvalidResponseError
    assert f"larger than {size - 1} bytes" in str(refused)
    assert refused.body == body[:2048].decode()


async def test_a_body_too_large_is_not_read_to_its_end() -> None:
    """Reading stops at the limit, and the answer is closed."""

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
    refused = await refusal(httpx.Response(200, stream=stream), max_response_bytes=10_000)
    assert type(refused) is InvalidResponseError
    assert refused.body == "x" * 2048
    assert stream.sent <= 11_000
    assert stream.closed


@pytest.mark.parametrize("encodings", [["gzip"], ["gzip", "gzip"]], ids=["once", "twice"])
async def test_a_bomb_does_not_go_off(encodings: list[str]) -> None:
    """A body that is small on the wire and large when decompressed is refused before it fills the memory."""
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
async def test_a_body_that_does_not_decode_is_unreadable(content: bytes) -> None:
    """A body that is not compressed as its headers say is an `InvalidResponseError`."""
    refused = await refusal(httpx.Response(200, stream=httpx.ByteStream(content), headers={"Content-Encoding": "gzip"}))
    assert type(refused) is InvalidResponseError


@virtual_time
async def test_observing_reads_a_status_once() -> None:
    """`observe` makes one attempt, and gives the server's time with the job."""
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
async def test_the_servers_time_is_in_utc_or_unknown(date: str | None, is_known: bool) -> None:
    """The ``Date`` header is read in each of its forms, and one that makes no sense is as none."""
    headers = {} if date is None else {"Date": date}
    async with client_of(httpx.Response(200, json=wire(5), headers=headers)) as client:
        response = await client.observer(JobRef.image_diff(5))()
    assert (response.server_time is not None) == is_known
    if response.server_time is not None:
        assert response.server_time.isoformat() == "2025-11-22T00:00:00+00:00"


@pytest.mark.parametrize("call", ["status", "retry"])
async def test_the_end_of_time_is_no_trap(call: str) -> None:
    """A server whose clock stands at the last second that a datetime holds is read like any other."""
    late = {"Date": "Fri, 31 Dec 9999 23:59:59 GMT"}
    body = wire(5, JobState.COMPLETED, jobupdated=253402300799)
    async with client_of(httpx.Response(200, json=body, headers=late)) as client:
        assert (await getattr(client.image_diffs, call)(5)).is_completed


@pytest.mark.parametrize(("status", "message"), [(404, "Not Found"), (599, "an unknown status")])
async def test_only_a_redirect_names_a_target(status: int, message: str) -> None:
    """A ``Location`` on any other answer is not taken for a redirect's target; a status without a name is told so."""
    headers = {"Location": "https://elsewhere.example/"}
    transport = httpx.MockTransport(lambda _: httpx.Response(status, headers=headers))
    async with ClanforgeClient(("key", "secret"), account_service_id=7, transport=transport, max_retries=0) as client:
        with pytest.raises(APIError) as refused:
            await client.image_diffs.status(5)
    assert refused.value.message == message
