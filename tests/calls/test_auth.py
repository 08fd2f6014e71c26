"""Credentials: what goes over the wire, and that nothing else ever shows them."""

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


def everything_shown(error: BaseException) -> str:
    """Return all that a program could come to print of an error."""
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


class Signer(httpx.Auth):
    """A third party's signer."""

    def __init__(self, header: str) -> None:
        self.header = header

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = self.header
        yield request


class ChallengeAuth(httpx.Auth):
    """Answers a challenge: the first request asks, the second proves."""

    requires_response_body = True

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        response = yield request
        if response.status_code == 401:
            request.headers["Authorization"] = f"Challenge {response.json()['nonce']}"
            yield request


class AskingForBody(httpx.Auth):
    """A signer that reads the request's body, as those do that sign it."""

    requires_request_body = True

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Signed {len(request.content)}"
        yield request


async def test_access_keys_are_sent_as_http_basic() -> None:
    """`AccessKeyAuth` sends ``base64(AccessKey:SecretKey)``, UTF-8 included."""
    assert await authorization_sent(AccessKeyAuth("key", SECRET)) == f"Basic {BASIC}"
    expected = base64.b64encode("schlüssel:a:b".encode()).decode()
    assert await authorization_sent(AccessKeyAuth("schlüssel", "a:b")) == f"Basic {expected}"


async def test_a_pair_is_access_key_and_secret_key() -> None:
    """A pair of texts is what httpx takes it for: `AccessKeyAuth`."""
    assert await authorization_sent(("key", SECRET)) == f"Basic {BASIC}"


async def test_a_token_is_sent_as_bearer() -> None:
    """`BearerTokenAuth` sends the token as it is."""
    assert await authorization_sent(BearerTokenAuth(TOKEN)) == f"Bearer {TOKEN}"


async def test_a_third_partys_signer_signs() -> None:
    """Any other ``httpx.Auth`` does what it does in httpx."""
    assert await authorization_sent(Signer("Custom x")) == "Custom x"
    assert await authorization_sent(httpx.BasicAuth("key", SECRET)) == f"Basic {BASIC}"


async def test_a_signer_sees_all_that_is_sent() -> None:
    """A signature can cover the address with its query, and every header that goes with it."""
    signed: list[tuple[httpx.URL, httpx.Headers]] = []
    sent: list[tuple[httpx.URL, httpx.Headers]] = []

    class Covering(httpx.Auth):
        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            signed.append((request.url, request.headers.copy()))
            yield request

    def remember(request: httpx.Request) -> httpx.Response:
        sent.append((request.url, request.headers))
        return httpx.Response(200, json=wire(5))

    transport = httpx.MockTransport(remember)
    async with ClanforgeClient(Covering(), account_service_id=7, transport=transport) as client:
        await client.image_diffs.status(5)
    assert sent == signed
    assert sent[0][1]["Content-Type"] == "application/x-www-form-urlencoded"


@pytest.mark.parametrize("over_aiohttp", [False, True])
@pytest.mark.parametrize("call", ["status", "retry"])
async def test_a_challenge_is_answered(call: str, over_aiohttp: bool) -> None:
    """A flow of several requests runs to its end, for a status read as for a retry, on every transport."""

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


async def test_a_compressed_challenge_is_read() -> None:
    """What a signer is shown of an answer is decoded, and no longer says that it is not."""

    def challenge(request: httpx.Request) -> httpx.Response:
        if "Authorization" in request.headers:
            return httpx.Response(200, json=wire(5))
        stream = httpx.ByteStream(gzip.compress(b'{"nonce": "n"}'))
        return httpx.Response(401, stream=stream, headers={"Content-Encoding": "gzip"})

    transport = httpx.MockTransport(challenge)
    async with ClanforgeClient(ChallengeAuth(), account_service_id=7, transport=transport) as client:
        assert (await client.image_diffs.status(5)).id == 5


async def test_httpxs_digest_auth_works() -> None:
    """httpx's own challenge flow, which keeps state between calls, works over several of them."""

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


async def test_a_challenge_that_is_not_met_is_the_servers_error() -> None:
    """A flow that ends refused ends as the refusal."""
    transport = httpx.MockTransport(lambda _: httpx.Response(401, json={"nonce": "n"}))
    async with ClanforgeClient(ChallengeAuth(), account_service_id=7, transport=transport) as client:
        with pytest.raises(AuthenticationError, match="HTTP 401"):
            await client.image_diffs.status(5)


@virtual_time
async def test_each_request_of_a_flow_counts_in_the_limits() -> None:
    """The rate limit is over requests, those of a challenge included."""
    seen: list[float] = []

    def challenge(request: httpx.Request) -> httpx.Response:
        seen.append(now())
        return httpx.Response(200 if "Authorization" in request.headers else 401, json=wire(5) | {"nonce": "n"})

    transport = httpx.MockTransport(challenge)
    async with ClanforgeClient(ChallengeAuth(), account_service_id=7, transport=transport, max_rate=1.0) as client:
        await client.image_diffs.status(5)
    assert seen == [pytest.approx(0.0), pytest.approx(1.0)]


@virtual_time
async def test_a_signer_is_told_of_a_long_cool_down_at_once() -> None:
    """Whoever signs the requests, none waits for longer than a single call does when the server asks for more."""
    server = ScriptedServer()
    server.diff(5, answer({}, 429, **{"Retry-After": "300"}))
    async with server.client(auth=Signer("Custom x")) as client:
        for _ in range(2):
            with pytest.raises(RateLimitError):
                await client.image_diffs.status(5)
    assert now() == 0
    assert len(server.requests) == 1


@pytest.mark.parametrize("over_aiohttp", [False, True])
async def test_a_signer_that_reads_the_body_changes_nothing(over_aiohttp: bool) -> None:
    """A retry that is signed over its (empty) body is sent once all the same when the connection drops."""

    def drop_retries(head: str) -> bytes | None:
        return None if "/retry" in head else http_answer(wire(5))

    transport = httpx_aiohttp.AiohttpTransport(verify=False) if over_aiohttp else None
    async with (
        LoopbackServer(drop_retries) as server,
        ClanforgeClient(AskingForBody(), base_url=server.url, transport=transport) as client,
    ):
        await client.image_diffs.retry(5)
    assert server.request_lines == ["GET /cfp/v1/imagediff/5/retry", "GET /cfp/v1/imagediff/5/status"]


async def test_a_token_that_refreshes_itself_can_build_on_ours() -> None:
    """A subclass of ours may answer a refusal, as any ``httpx.Auth`` may."""

    class Answering(BearerTokenAuth):
        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            request.headers["Authorization"] = "Bearer stale"
            response = yield request
            if response.status_code == 401:
                request.headers["Authorization"] = "Bearer fresh"
                yield request

    def only_fresh(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200 if request.headers["Authorization"] == "Bearer fresh" else 401, json=wire(5))

    async with ClanforgeClient(Answering("stale"), transport=httpx.MockTransport(only_fresh)) as client:
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
def test_a_key_that_cannot_be_is_refused(access_key: Any, secret_key: Any) -> None:
    """Empty keys, control characters, other types than text and a colon in the access key are refused, unquoted."""
    with pytest.raises(ConfigurationError, match=r"access key|secret key") as refused:
        AccessKeyAuth(access_key, secret_key)
    assert_hidden(everything_shown(refused.value))


@pytest.mark.parametrize("token", ["", f"{TOKEN}\n", f"{TOKEN} x", f"{TOKEN}\r\nX: y", f"{TOKEN}é", "\x7f", None, b"x"])
def test_a_token_that_no_header_carries_is_refused(token: Any) -> None:
    """A token of anything but visible ASCII is refused when it is given, unquoted."""
    with pytest.raises(ConfigurationError, match="token must be") as refused:
        BearerTokenAuth(token)
    assert_hidden(everything_shown(refused.value))


@pytest.mark.parametrize("auth", [None, "key:secret", SECRET, ("key",), ("key", SECRET, "x"), ("key", 5), 5, object])
def test_what_is_no_authentication_is_refused(auth: Any) -> None:
    """A client takes an ``httpx.Auth`` or a pair of texts, and quotes neither when it refuses."""
    with pytest.raises(ConfigurationError, match="auth must be") as refused:
        ClanforgeClient(auth, account_service_id=7)
    assert_hidden(everything_shown(refused.value))


@pytest.mark.parametrize("auth", [AccessKeyAuth("key", SECRET), BearerTokenAuth(TOKEN)])
def test_credentials_do_not_show(auth: httpx.Auth) -> None:
    """Credentials show their class alone, and neither pickle nor copy."""
    assert repr(auth) == f"{type(auth).__name__}(...)"
    assert_hidden(f"{auth} {auth!r} {[auth]}")
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="holds a secret") as refused:
            attempt(auth)
        assert_hidden(everything_shown(refused.value))


@pytest.mark.parametrize("auth", [AccessKeyAuth("key", SECRET), BearerTokenAuth(TOKEN), ("key", SECRET)])
def test_a_client_does_not_show_its_credentials(auth: Any) -> None:
    """A client shows where it talks to, and neither pickles nor copies; its calls show nothing."""
    client = ClanforgeClient(auth, account_service_id=7)
    host = "api.multiplay.dev" if isinstance(auth, BearerTokenAuth) else "api.multiplay.co.uk"
    assert repr(client) == f"<ClanforgeClient https://{host}>"
    assert_hidden(f"{client} {client!r} {client.image_diffs!r} {client.image_versions!r} {vars(client)}")
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled"):
            attempt(client)


@pytest.mark.parametrize("over_aiohttp", [False, True])
@pytest.mark.parametrize("auth", [AccessKeyAuth("key", SECRET), BearerTokenAuth(TOKEN), Signer(f"Custom {TOKEN}")])
async def test_no_log_and_no_error_shows_a_secret(
    auth: httpx.Auth, over_aiohttp: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """With every logger at DEBUG no secret is logged, and none stands in an error, its chain or its pickle."""
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
                    shown.append(everything_shown(error) + repr(pickle.dumps(error)))
    assert all("authorization" in head.lower() for head in server.requests)
    assert len(shown) == 16
    assert_hidden("\n".join(shown))
    assert "clanforge_async" in caplog.text
    assert_hidden(caplog.text)


@virtual_time
async def test_a_call_logs_nothing_above_debug() -> None:
    """Nothing above DEBUG is logged of a call, be it repeated, answered or given up."""
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
    """A signer's header that cannot be sent fails the call without being quoted, and nothing is sent."""
    caplog.set_level(logging.DEBUG)
    transport = httpx_aiohttp.AiohttpTransport(verify=False) if over_aiohttp else None
    async with (
        LoopbackServer(ok) as server,
        ClanforgeClient(Signer(header), base_url=server.url, transport=transport) as client,
    ):
        for call in (client.image_diffs.status, client.image_diffs.retry):
            with pytest.raises(ConfigurationError, match="credentials") as refused:
                await call(5)
            assert_hidden(everything_shown(refused.value) + repr(pickle.dumps(refused.value)))
    assert server.requests == []
    assert_hidden(caplog.text)


async def test_a_signers_own_error_passes() -> None:
    """What a third party's signer raises is its own and passes unchanged."""

    class Broken(httpx.Auth):
        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            yield request
            raise LookupError

    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=wire(5)))
    async with ClanforgeClient(Broken(), account_service_id=7, transport=transport) as client:
        with pytest.raises(LookupError):
            await client.image_diffs.status(5)


async def test_an_error_gives_no_query_away() -> None:
    """The address on an error is without its query, in which a signer may have put its signature."""

    class InQuery(httpx.Auth):
        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            request.url = request.url.copy_merge_params({"signature": TOKEN})
            yield request

    transport = httpx.MockTransport(lambda _: httpx.Response(404, json={}))
    async with ClanforgeClient(InQuery(), account_service_id=7, transport=transport) as client:
        with pytest.raises(APIError) as refused:
            await client.image_diffs.status(5)
    assert refused.value.url == "https://api.multiplay.co.uk/cfp/v1/imagediff/5/status"
    assert_hidden(everything_shown(refused.value))
