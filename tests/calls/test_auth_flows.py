"""Auth flows with further requests, such as one for a token: those are not the API's request."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from support.loopback_server import LoopbackServer, http_answer
from support.scripted_server import answer, server_now, wire
from support.virtual_time import now, virtual_time

from clanforge_async import (
    ClanforgeClient,
    ConfigurationError,
    ImageDiffJob,
    JobRef,
    JobState,
    JobWatcher,
    RateLimitError,
    RetryOutcomeUnknownError,
    TransportError,
)

LOGIN = "https://login.example/oauth/token"
API = "https://api.example"


class OAuth(httpx.Auth):
    """Requests a token with POST before the first request."""

    requires_response_body = True

    def __init__(self, url: str = LOGIN) -> None:
        self.url = url
        self.token: str | None = None

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        if self.token is None:
            response = yield httpx.Request("POST", self.url, data={"client_secret": "s3cret"})
            self.token = response.json()["access_token"]
        request.headers["Authorization"] = f"Bearer {self.token}"
        yield request


class LoginServer:
    """A transport that is both the token endpoint and the API; records the requests to each of them."""

    def __init__(self, *failures: httpx.Response | Exception, state: JobState = JobState.FAILED) -> None:
        self.failures = list(failures)
        self.state = state
        self.login_bodies: list[bytes] = []
        self.api_calls: list[str] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "login.example":
            self.login_bodies.append(await request.aread())
            if self.failures:
                failure = self.failures.pop(0)
                if isinstance(failure, Exception):
                    raise failure
                return failure
            return httpx.Response(200, json={"access_token": "t"})
        assert request.headers["Authorization"] == "Bearer t"
        self.api_calls.append(request.url.path.rpartition("/")[2])
        return answer(wire(5, self.state))

    def client(self, auth: httpx.Auth | None = None, **options: Any) -> ClanforgeClient:
        return ClanforgeClient(auth or OAuth(), base_url=API, transport=httpx.MockTransport(self), **options)


@pytest.mark.parametrize("call", ["status", "retry"])
async def test_a_token_request_is_sent_as_the_flow_made_it(call: str) -> None:
    """The body of the flow's POST arrives complete, whichever call the flow is for."""
    server = LoginServer(state=JobState.RUNNING)
    async with server.client() as client:
        job: ImageDiffJob = await getattr(client.image_diffs, call)(5)
    assert job.state is JobState.RUNNING
    assert server.login_bodies == [b"client_secret=s3cret"]
    assert server.api_calls == [call]


FAILURES = [
    httpx.ReadTimeout("slow"),
    httpx.ReadError("reset"),
    httpx.RemoteProtocolError("no HTTP"),
    OSError("no route"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.COMPLETED])
async def test_a_failed_token_request_leaves_the_outcome_known(failure: Exception, state: JobState) -> None:
    """If the token endpoint fails, the retry was not sent: the outcome is known, and no status is read."""
    server = LoginServer(*[failure] * 9, state=state)
    async with server.client(max_retries=0) as client:
        with pytest.raises(TransportError, match=r"auth flow's request to login\.example failed") as raised:
            await client.image_diffs.retry(5)
    assert raised.value.request_sent is False
    assert server.api_calls == []


@virtual_time
async def test_a_retry_is_sent_when_the_token_endpoint_has_recovered() -> None:
    """After a failure of the token endpoint, a retry is attempted again, since it was not sent; it is sent once."""
    server = LoginServer(httpx.ReadTimeout("slow"), httpx.ReadError("reset"), state=JobState.RUNNING)
    async with server.client() as client:
        await client.image_diffs.retry(5)
    assert server.api_calls == ["retry"]


@pytest.mark.parametrize("call", ["status", "retry"])
async def test_errors_of_the_flow_itself_pass(call: str) -> None:
    """A flow's error that is neither ours nor httpx's is raised unchanged: an HTML page as token, a missing file."""
    server = LoginServer(httpx.Response(200, text="<html>captive portal</html>"))
    async with server.client() as client:
        with pytest.raises(json.JSONDecodeError):
            await getattr(client.image_diffs, call)(5)

    class FileToken(httpx.Auth):
        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
            request.headers["Authorization"] = Path("/no/such/token").read_text("utf-8")
            yield request

    async with server.client(FileToken()) as client:
        with pytest.raises(FileNotFoundError):
            await getattr(client.image_diffs, call)(5)


@virtual_time
async def test_a_missing_token_file_ends_a_watch_at_once() -> None:
    """An operating system error in a flow ends a watch at once, since it is no network outage."""

    class FileToken(httpx.Auth):
        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
            request.headers["Authorization"] = Path("/no/such/token").read_text("utf-8")
            yield request

    async with LoginServer().client(FileToken()) as client, JobWatcher(client) as watcher:
        with pytest.raises(FileNotFoundError):
            await watcher.wait(JobRef.image_diff(5))
    assert now() == 0


@pytest.mark.parametrize("error", [httpx.ConnectError("down"), httpx.InvalidURL("bad"), httpx.StreamConsumed()])
async def test_httpx_errors_of_the_flow_are_transport_errors(error: Exception) -> None:
    """An error of httpx that the flow raises before it sends the API's request is a `TransportError`, not sent."""

    class Raising(httpx.Auth):
        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
            raise error
            yield request

    async with LoginServer().client(Raising(), max_retries=0) as client:
        with pytest.raises(TransportError, match="the auth flow failed") as raised:
            await client.image_diffs.retry(5)
    assert raised.value.request_sent is False


async def test_a_failure_after_the_request_was_processed_is_unknown() -> None:
    """If the flow fails after the API has responded with success, the request counts as sent."""

    class LateFailure(httpx.Auth):
        async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
            request.headers["Authorization"] = "Bearer t"
            yield request
            message = "audit log is down"
            raise httpx.ConnectError(message)

    server = LoginServer(state=JobState.COMPLETED)
    async with server.client(LateFailure(), max_retries=0) as client:
        with pytest.raises(RetryOutcomeUnknownError):
            await client.image_diffs.retry(5)
    assert server.api_calls == ["retry", "status"]


async def test_a_failure_after_a_refusal_is_known() -> None:
    """If the API refuses the first attempt for its token, and no new token can be had, nothing was processed."""

    class Refreshing(OAuth):
        async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
            yield request
            yield httpx.Request("POST", LOGIN)
            yield request

    def server(request: httpx.Request) -> httpx.Response:
        if request.url.host == "login.example":
            message = "reset"
            raise httpx.ReadError(message)
        return httpx.Response(401)

    transport = httpx.MockTransport(server)
    async with ClanforgeClient(Refreshing(), base_url=API, transport=transport, max_retries=0) as client:
        with pytest.raises(TransportError) as raised:
            await client.image_diffs.retry(5)
    assert raised.value.request_sent is False


async def test_a_flow_that_sends_nothing_is_a_mistake() -> None:
    """A flow without any request is a `ConfigurationError`; the call does not hang or raise another exception."""

    class Nothing(httpx.Auth):
        async def async_auth_flow(self, _request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
            return
            yield

    async with LoginServer().client(Nothing()) as client:
        with pytest.raises(ConfigurationError, match="auth flow of Nothing sends no request"):
            await client.image_diffs.status(5)


async def test_the_token_endpoints_response_is_never_the_result() -> None:
    """A flow that ends after its token request raises, even if the response to that looks like a job."""

    class GivesUp(httpx.Auth):
        async def async_auth_flow(self, _request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
            yield httpx.Request("GET", LOGIN)

    server = LoginServer(*[httpx.Response(200, json=wire(5))] * 2)
    async with server.client(GivesUp(), max_retries=0) as client:
        with pytest.raises(TransportError, match=r"ended with HTTP 200 from login\.example") as raised:
            await client.image_diffs.retry(5)
    assert raised.value.request_sent is False


async def test_a_copy_of_the_request_is_the_apis() -> None:
    """If a signer yields its own request for the same path, that is sent as a call with a side effect."""

    class Presigned(httpx.Auth):
        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
            yield httpx.Request("GET", request.url.copy_add_param("signature", "x"), headers=request.headers)

    calls: list[str] = []

    def dropping(request: httpx.Request) -> httpx.Response:
        calls.append(request.url.path.rpartition("/")[2])
        message = "dropped"
        raise httpx.ReadError(message)

    transport = httpx.MockTransport(dropping)
    async with ClanforgeClient(Presigned(), base_url=API, transport=transport, max_retries=0) as client:
        with pytest.raises(RetryOutcomeUnknownError):
            await client.image_diffs.retry(5)
    assert calls == ["retry", "status"]


class TimedSigner(httpx.Auth):
    """Puts the time of signing into a header, like AWS Signature V4."""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        request.headers["X-Signed-At"] = str(now())
        yield request


@pytest.mark.parametrize("max_rate", [1.0, None], ids=["rate", "slots"])
def test_a_request_is_signed_when_it_is_sent(max_rate: float | None) -> None:
    """A request is signed after it has waited for a slot, the rate and a cooldown, so that its signature is fresh."""
    ages: list[float] = []

    async def server(request: httpx.Request) -> httpx.Response:
        ages.append(now() - float(request.headers["X-Signed-At"]))
        if len(ages) == 3:
            return answer({}, 429, **{"Retry-After": "50"})
        return answer(wire(5, jobupdated=int(server_now())))

    @virtual_time
    async def run() -> None:
        transport = httpx.MockTransport(server)
        async with ClanforgeClient(
            TimedSigner(), base_url=API, transport=transport, max_rate=max_rate, max_concurrency=1
        ) as client:
            tasks = [client.image_diffs.status(5) for _ in range(30)]
            for outcome in [await task for task in tasks]:
                assert outcome.id == 5

    run()
    assert len(ages) == 31
    assert max(ages) == 0


@pytest.mark.parametrize(("max_rate", "times"), [(1.0, [0, 0, 2]), (None, [0, 0, 0])])
@virtual_time
async def test_a_flows_further_requests_count_but_do_not_queue(max_rate: float | None, times: list[float]) -> None:
    """A flow keeps its slot: its second request is sent at once, and the next call waits for both intervals."""
    sent: list[float] = []

    def server(request: httpx.Request) -> httpx.Response:
        sent.append(now())
        return answer({"access_token": "t"} if request.url.host == "login.example" else wire(5))

    transport = httpx.MockTransport(server)
    async with ClanforgeClient(
        OAuth(), base_url=API, transport=transport, max_rate=max_rate, max_concurrency=1
    ) as client:
        await client.image_diffs.status(5)
        await client.image_diffs.status(5)
    assert sent == times


async def test_a_flow_does_not_wait_for_a_long_cooldown() -> None:
    """With a flow too, a call that would wait too long for a cooldown is refused before anything is sent."""
    server = LoginServer(httpx.Response(200, json={"access_token": "t"}))
    async with server.client(max_retries=0) as client:
        client._session._limiter.start_cooldown(
            RateLimitError("slow down", status_code=429, retry_after=100.0), sent_at=0.0
        )
        with pytest.raises(RateLimitError, match="not sent"):
            await client.image_diffs.retry(5)
    assert server.login_bodies == []


@pytest.mark.parametrize("base", ["http", "https"])
async def test_tls_is_verified_for_a_token_endpoint(base: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No secret is sent to a server with an untrusted certificate, even if the API itself uses http on loopback."""
    impostor = trustme.CA().issue_cert("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    impostor.configure_cert(context)
    trusted = tmp_path / "trusted.pem"
    trustme.CA().cert_pem.write_to_path(str(trusted))
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    async with (
        LoopbackServer(lambda _: http_answer({"access_token": "t"}), tls=context) as login,
        LoopbackServer(lambda _: http_answer(wire(5))) as api,
    ):
        auth = OAuth(login.url.replace("127.0.0.1", "localhost"))
        url = f"{base}://127.0.0.1:{api.port}"
        async with ClanforgeClient(auth, base_url=url, max_retries=0) as client:
            with pytest.raises(TransportError, match="certificate verify failed"):
                await client.image_diffs.status(5)
        assert login.requests == []
