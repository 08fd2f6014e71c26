"""Credentials: the headers that they add. No log, error or repr shows them."""

from __future__ import annotations

import base64
import copy
import gzip
import logging
import pickle
import traceback
from collections.abc import Generator
from typing import Any

import httpx
import httpx_aiohttp
import pytest
from support.loopback_server import LoopbackServer, http_answer
from support.scripted_server import ScriptedServer, answer, wire
from support.virtual_time import now, virtual_time

from clanforge_async import (
    AccessKeyAuth,
    APIError,
    AuthenticationError,
    BearerTokenAuth,
    ClanforgeClient,
    ClanforgeError,
    ConfigurationError,
    JobState,
    RateLimitError,
    ServerError,
)

SECRET = "s3cr3t-never-shown"
TOKEN = "t0k3n-never-shown"
BASIC = base64.b64encode(f"key:{SECRET}".encode()).decode()
MARKED = (SECRET, TOKEN, BASIC)


def ok(_head: str) -> bytes:
    return http_answer(wire(5))


def accepting(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json=wire(5), headers={"X-Seen": request.headers["Authorization"]})


async def authorization_sent(auth: Any, **options: Any) -> str:
    seen: list[str] = []

    def remember(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["Authorization"])
        return httpx.Response(200, json=wire(5))

    transport = httpx.MockTransport(remember)
    async with ClanforgeClient(auth, account_service_id=7, transport=transport, **options) as client:
        await client.image_diffs.status(5)
    (header,) = seen
    return header


def all_output_of(error: BaseException) -> str:
    """Return everything that a program could print of an error."""
    chain: list[BaseException] = []
    at: BaseException | None = error
    while at is not None:
        chain.append(at)
        at = at.__cause__
    shown = [text for link in chain for text in (str(link), repr(link), repr(vars(link)))]
    return "\n".join([*traceback.format_exception(error), *shown])


def assert_hidden(text: str) -> None:
    for secret in MARKED:
        assert secret not in text


class CustomAuth(httpx.Auth):
    """A third party's auth class."""

    def __init__(self, header: str) -> None:
        self.header = header

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = self.header
        yield request


class ChallengeAuth(httpx.Auth):
    """Responds to a challenge: the first request triggers it, the second one contains the response to it."""

    requires_response_body = True

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        response = yield request
        if response.status_code == 401:
            request.headers["Authorization"] = f"Challenge {response.json()['nonce']}"
            yield request


class BodyAuth(httpx.Auth):
    """An auth class that reads the request's body, as body-signing ones do."""

    requires_request_body = True

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Signed {len(request.content)}"
        yield request


async def test_access_keys_are_sent_as_http_basic() -> None:
    """`AccessKeyAuth` sends ``base64(AccessKey:SecretKey)`` in UTF-8."""
    assert await authorization_sent(AccessKeyAuth("key", SECRET)) == f"Basic {BASIC}"
    expected = base64.b64encode("schlüssel:a:b".encode()).decode()
    assert await authorization_sent(AccessKeyAuth("schlüssel", "a:b")) == f"Basic {expected}"


async def test_a_pair_is_access_key_and_secret_key() -> None:
    """A pair of strings means `AccessKeyAuth`."""
    assert await authorization_sent(("key", SECRET)) == f"Basic {BASIC}"


async def test_a_token_is_sent_as_bearer() -> None:
    """`BearerTokenAuth` sends the token unchanged."""
    assert await authorization_sent(BearerTokenAuth(TOKEN)) == f"Bearer {TOKEN}"


async def test_any_httpx_auth_works() -> None:
    """Any other ``httpx.Auth`` works as in httpx."""
    assert await authorization_sent(CustomAuth("Custom x")) == "Custom x"
    assert await authorization_sent(httpx.BasicAuth("key", SECRET)) == f"Basic {BASIC}"


async def test_custom_auth_sees_the_complete_request() -> None:
    """A signature can cover the URL with its query and every header that is sent."""
    signed: list[tuple[httpx.URL, httpx.Headers]] = []
    sent: list[tuple[httpx.URL, httpx.Headers]] = []

    class RecordingAuth(httpx.Auth):
        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            signed.append((request.url, request.headers.copy()))
            yield request

    def remember(request: httpx.Request) -> httpx.Response:
        sent.append((request.url, request.headers))
        return httpx.Response(200, json=wire(5))

    transport = httpx.MockTransport(remember)
    async with ClanforgeClient(RecordingAuth(), account_service_id=7, transport=transport) as client:
        await client.image_diffs.status(5)
    assert sent == signed
    assert sent[0][1]["Content-Type"] == "application/x-www-form-urlencoded"


@pytest.mark.parametrize("over_aiohttp", [False, True])
@pytest.mark.parametrize("call", ["status", "retry"])
async def test_an_auth_flow_may_send_several_requests(call: str, over_aiohttp: bool) -> None:
    """A flow of several requests runs to its end, for status and retry, on every transport."""

    def challenge(head: str) -> bytes:
        if "challenge nonce1" in head.lower():
            return http_answer(wire(5))
        return http_answer({"nonce": "nonce1"}, "401 Unauthorized")

    transport = httpx_aiohttp.AiohttpTransport(verify=False) if over_aiohttp else None
    async with (
        LoopbackServer(challenge) as server,
        ClanforgeClient(ChallengeAuth(), base_url=server.url, transport=transport) as client,
    ):
        job = await getattr(client.image_diffs, call)(5)
    assert job.state is JobState.RUNNING
    assert server.request_lines == [f"GET /cfp/v1/imagediff/5/{call}"] * 2


async def test_an_auth_flow_sees_a_decompressed_response() -> None:
    """The response that a flow receives is decompressed and has no ``Content-Encoding``."""

    def challenge(request: httpx.Request) -> httpx.Response:
        if "Authorization" in request.headers:
            return httpx.Response(200, json=wire(5))
        stream = httpx.ByteStream(gzip.compress(b'{"nonce": "n"}'))
        return httpx.Response(401, stream=stream, headers={"Content-Encoding": "gzip"})

    transport = httpx.MockTransport(challenge)
    async with ClanforgeClient(ChallengeAuth(), account_service_id=7, transport=transport) as client:
        assert (await client.image_diffs.status(5)).id == 5


async def test_httpx_digest_auth_works() -> None:
    """``httpx.DigestAuth``, which keeps state between calls, works over several calls."""

    def challenge(head: str) -> bytes:
        if "authorization: digest" in head.lower():
            return http_answer(wire(5))
        realm = 'Digest realm="clanforge", nonce="abc", qop="auth", algorithm=SHA-256'
        return http_answer(b"", "401 Unauthorized", WWW_Authenticate=realm)

    auth = httpx.DigestAuth("key", SECRET)
    async with LoopbackServer(challenge) as server, ClanforgeClient(auth, base_url=server.url) as client:
        assert (await client.image_diffs.status(5)).id == 5
        assert (await client.image_diffs.status(5)).id == 5
    assert len(server.requests) == 3


async def test_a_failed_challenge_is_an_api_error() -> None:
    """If a flow ends with a 401, the call raises an `AuthenticationError`."""
    transport = httpx.MockTransport(lambda _: httpx.Response(401, json={"nonce": "n"}))
    async with ClanforgeClient(ChallengeAuth(), account_service_id=7, transport=transport) as client:
        with pytest.raises(AuthenticationError, match="HTTP 401"):
            await client.image_diffs.status(5)


@virtual_time
async def test_each_request_of_an_auth_flow_is_rate_limited() -> None:
    """The rate limit counts every request of a flow. The flow keeps its slot, so only the next call waits."""
    seen: list[float] = []

    def challenge(request: httpx.Request) -> httpx.Response:
        seen.append(now())
        return httpx.Response(200 if "Authorization" in request.headers else 401, json=wire(5) | {"nonce": "n"})

    transport = httpx.MockTransport(challenge)
    async with ClanforgeClient(ChallengeAuth(), account_service_id=7, transport=transport, max_rate=1.0) as client:
        await client.image_diffs.status(5)
        await client.image_diffs.status(5)
    assert seen == [0.0, 0.0, pytest.approx(2.0), pytest.approx(2.0)]


@virtual_time
async def test_an_auth_flow_does_not_wait_for_a_long_cooldown() -> None:
    """With any auth class, a call raises at once if a cooldown is longer than a single call waits."""
    server = ScriptedServer()
    server.diff(5, answer({}, 429, **{"Retry-After": "300"}))
    async with server.client(auth=CustomAuth("Custom x")) as client:
        for _ in range(2):
            with pytest.raises(RateLimitError):
                await client.image_diffs.status(5)
    assert now() == 0
    assert len(server.requests) == 1


@pytest.mark.parametrize("over_aiohttp", [False, True])
async def test_a_signed_body_is_still_sent_once(over_aiohttp: bool) -> None:
    """A retry whose (empty) body is signed is sent only once if the connection drops."""

    def drop_retries(head: str) -> bytes | None:
        return None if "/retry" in head else http_answer(wire(5))

    transport = httpx_aiohttp.AiohttpTransport(verify=False) if over_aiohttp else None
    async with (
        LoopbackServer(drop_retries) as server,
        ClanforgeClient(BodyAuth(), base_url=server.url, transport=transport) as client,
    ):
        await client.image_diffs.retry(5)
    assert server.request_lines == ["GET /cfp/v1/imagediff/5/retry", "GET /cfp/v1/imagediff/5/status"]


async def test_a_subclass_may_answer_a_challenge() -> None:
    """A subclass of `BearerTokenAuth` may respond to a 401, like any ``httpx.Auth``."""

    class RefreshingAuth(BearerTokenAuth):
        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            request.headers["Authorization"] = "Bearer stale"
            response = yield request
            if response.status_code == 401:
                request.headers["Authorization"] = "Bearer fresh"
                yield request

    def require_fresh_token(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200 if request.headers["Authorization"] == "Bearer fresh" else 401, json=wire(5))

    async with ClanforgeClient(RefreshingAuth("stale"), transport=httpx.MockTransport(require_fresh_token)) as client:
        assert (await client.image_diffs.status(5)).id == 5


@pytest.mark.parametrize(
    ("access_key", "secret_key"),
    [
        ("", SECRET),
        ("key", ""),
        ("key\n", SECRET),
        ("key", SECRET + "\n"),
        ("key", SECRET + "\x00"),
        ("ke:y", SECRET),
        (None, SECRET),
        ("key", 5),
        ("key", SECRET.encode()),
    ],
)
def test_an_invalid_key_is_rejected(access_key: Any, secret_key: Any) -> None:
    """Empty keys, control characters, other types and a colon in the access key are errors without the key."""
    with pytest.raises(ConfigurationError, match=r"access key|secret key") as raised:
        AccessKeyAuth(access_key, secret_key)
    assert_hidden(all_output_of(raised.value))


@pytest.mark.parametrize("token", ["", f"{TOKEN}\n", f"{TOKEN} x", f"{TOKEN}\r\nX: y", f"{TOKEN}é", "\x7f", None, b"x"])
def test_an_invalid_token_is_rejected(token: Any) -> None:
    """A token of anything but visible ASCII is an error without the token."""
    with pytest.raises(ConfigurationError, match="token must be") as raised:
        BearerTokenAuth(token)
    assert_hidden(all_output_of(raised.value))


@pytest.mark.parametrize("auth", [None, "key:secret", SECRET, ("key",), ("key", SECRET, "x"), ("key", 5), 5, object])
def test_invalid_auth_is_rejected(auth: Any) -> None:
    """A client accepts an ``httpx.Auth`` or a pair of strings; the error for anything else does not quote it."""
    with pytest.raises(ConfigurationError, match="auth must be") as raised:
        ClanforgeClient(auth, account_service_id=7)
    assert_hidden(all_output_of(raised.value))


@pytest.mark.parametrize("auth", [AccessKeyAuth("key", SECRET), BearerTokenAuth(TOKEN)])
def test_credentials_are_hidden(auth: httpx.Auth) -> None:
    """The repr of credentials shows only their class, and they can be neither pickled nor copied."""
    assert repr(auth) == f"{type(auth).__name__}(...)"
    assert_hidden(f"{auth} {auth!r} {[auth]}")
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="contains a secret") as raised:
            attempt(auth)
        assert_hidden(all_output_of(raised.value))


@pytest.mark.parametrize("auth", [AccessKeyAuth("key", SECRET), BearerTokenAuth(TOKEN), ("key", SECRET)])
def test_a_client_hides_its_credentials(auth: Any) -> None:
    """The repr of a client shows only its base URL, and it can be neither pickled nor copied."""
    client = ClanforgeClient(auth, account_service_id=7)
    host = "api.multiplay.dev" if isinstance(auth, BearerTokenAuth) else "api.multiplay.co.uk"
    assert repr(client) == f"<ClanforgeClient https://{host}>"
    assert_hidden(f"{client} {client!r} {client.image_diffs!r} {client.image_versions!r} {vars(client)}")
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled"):
            attempt(client)


@pytest.mark.parametrize("over_aiohttp", [False, True])
@pytest.mark.parametrize("auth", [AccessKeyAuth("key", SECRET), BearerTokenAuth(TOKEN), CustomAuth(f"Custom {TOKEN}")])
async def test_no_log_and_no_error_shows_a_secret(
    auth: httpx.Auth, over_aiohttp: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """With every logger at DEBUG, no log, error, cause or pickle contains a secret."""
    caplog.set_level(logging.DEBUG)
    for name in ("clanforge_async", "httpx", "httpcore", "aiohttp", "asyncio"):
        caplog.set_level(logging.DEBUG, name)
    answers: dict[str, bytes | None] = {
        "/1/": http_answer(wire(1)),
        "/2/": http_answer(b"<html>", "401 Unauthorized"),
        "/3/": http_answer(b"<html>", "302 Found", Location="https://elsewhere.example/"),
        "/4/": None,
        "/5/": b"what is this?\r\n\r\n",
        "/6/": http_answer(b"junk", Content_Encoding="gzip"),
        "/7/": http_answer({"diffid": None}),
        "/8/": http_answer(b"busy", "503 Service Unavailable"),
    }

    def answer(head: str) -> bytes | None:
        return next(content for part, content in answers.items() if part in head)

    shown = []
    transport = httpx_aiohttp.AiohttpTransport(verify=False) if over_aiohttp else None
    async with (
        LoopbackServer(answer) as server,
        ClanforgeClient(auth, base_url=server.url, transport=transport, max_retries=0, max_rate=None) as client,
    ):
        for diff_id in range(1, 9):
            for call in (client.image_diffs.status, client.image_diffs.retry):
                try:
                    shown.append(repr(await call(diff_id)))
                except ClanforgeError as error:
                    shown.append(all_output_of(error) + repr(pickle.dumps(error)))
    assert all("authorization" in head.lower() for head in server.requests)
    assert len(shown) == 16
    assert_hidden("\n".join(shown))
    assert "clanforge_async" in caplog.text
    assert_hidden(caplog.text)


@virtual_time
async def test_a_call_logs_nothing_above_debug() -> None:
    """A call logs nothing above DEBUG, whether it succeeds, is retried or fails."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler(logging.INFO)
    handler.emit = records.append  # type: ignore[method-assign, assignment] # a handler that remembers
    logging.getLogger().addHandler(handler)
    try:
        server = ScriptedServer()
        server.diff(5, httpx.ConnectError("refused"), httpx.Response(500), answer(wire(5)))
        server.diff(6, httpx.Response(500))
        async with server.client() as client:
            await client.image_diffs.status(5)
            with pytest.raises(ServerError):
                await client.image_diffs.status(6)
    finally:
        logging.getLogger().removeHandler(handler)
    assert records == []


@pytest.mark.parametrize("over_aiohttp", [False, True])
@pytest.mark.parametrize(
    "header", [f"Custom {TOKEN}\r\nX-Evil: 1", f"Custom {TOKEN}\x00", f"Custom {TOKEN}\n", f" Custom {TOKEN}"]
)
async def test_an_illegal_header_is_not_quoted(
    header: str, over_aiohttp: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """If a signer adds a header that is invalid in HTTP, the error does not quote it, and nothing is sent."""
    caplog.set_level(logging.DEBUG)
    transport = httpx_aiohttp.AiohttpTransport(verify=False) if over_aiohttp else None
    async with (
        LoopbackServer(ok) as server,
        ClanforgeClient(CustomAuth(header), base_url=server.url, transport=transport) as client,
    ):
        for call in (client.image_diffs.status, client.image_diffs.retry):
            with pytest.raises(ConfigurationError, match="credentials") as raised:
                await call(5)
            assert_hidden(all_output_of(raised.value) + repr(pickle.dumps(raised.value)))
    assert server.requests == []
    assert_hidden(caplog.text)


async def test_an_exception_of_custom_auth_is_unchanged() -> None:
    """An exception of a third party's auth class is raised unchanged."""

    class FailingAuth(httpx.Auth):
        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            yield request
            raise LookupError

    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=wire(5)))
    async with ClanforgeClient(FailingAuth(), account_service_id=7, transport=transport) as client:
        with pytest.raises(LookupError):
            await client.image_diffs.status(5)


async def test_an_error_hides_the_query() -> None:
    """The URL of an error has no query, since that can contain a signature."""

    class QueryAuth(httpx.Auth):
        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            request.url = request.url.copy_merge_params({"signature": TOKEN})
            yield request

    transport = httpx.MockTransport(lambda _: httpx.Response(404, json={}))
    async with ClanforgeClient(QueryAuth(), account_service_id=7, transport=transport) as client:
        with pytest.raises(APIError) as raised:
            await client.image_diffs.status(5)
    assert raised.value.url == "https://api.multiplay.co.uk/cfp/v1/imagediff/5/status"
    assert_hidden(all_output_of(raised.value))
