"""The secrets of a source appear in no error, log, span, repr, pickle or cache, whatever the server sends back."""

from __future__ import annotations

import gc
import logging
import pickle
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any
from urllib.parse import quote

import httpx
import httpx_aiohttp
import pytest
from opentelemetry.instrumentation.httpx import AsyncOpenTelemetryTransport
from support.failures import MAX_RESPONSE_BYTES, REJECTED, UNKNOWN_OUTCOMES, UNSENT
from support.image_answers import options_wire
from support.loopback_server import LoopbackServer, http_answer
from support.scripted_server import Answer, ScriptedServer, answer, envelope, wire
from support.secrets import shown_by
from support.telemetry.collected import Collected
from support.virtual_time import virtual_time

from clanforge_async import (
    APIError,
    ClanforgeClient,
    ClanforgeError,
    InvalidResponseError,
    JobFailedError,
    JobKind,
    JobState,
    OutcomeUnknownError,
    S3Source,
    TransportError,
    job_from_dict,
    job_to_dict,
)
from clanforge_async._http.request import ApiRequest

SOURCE = S3Source("bucket", "folder", "HIDDENACCESS", "hidden/SECRET+key")
URL = SOURCE.url()
SECRETS = ("HIDDENACCESS", "hidden", "SECRET")
FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "encoded": lambda url: quote(url, safe=""),
    "encoded twice": lambda url: quote(quote(url, safe=""), safe=""),
}
each_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def update_request() -> ApiRequest[Mapping[str, Any]]:
    """Return a request with a side effect whose parameter is a source."""
    return ApiRequest("/cfp/v1/imageupdate/create", dict, {"url": URL, "desc": "nightly"}, idempotent=False)


def assert_hidden(text: str) -> None:
    """Assert that a text shows no part of the secrets."""
    assert [secret for secret in SECRETS if secret in text] == []


def client_of(handler: Callable[[httpx.Request], httpx.Response], **options: Any) -> ClanforgeClient:
    """Return a client whose transport is a function that responds to requests."""
    transport = httpx.MockTransport(handler)
    return ClanforgeClient(("key", "secret"), account_service_id=7, transport=transport, max_retries=0, **options)


async def failure_of(handler: Callable[[httpx.Request], httpx.Response], **options: Any) -> ClanforgeError:
    """Return the error of a request with a source."""
    async with client_of(handler, **options) as client:
        with pytest.raises(ClanforgeError) as failed:
            await client._session.call(update_request())
    return failed.value


def _answer(response: httpx.Response, _request: httpx.Request) -> httpx.Response:
    return response


def assert_error_hides(error: ClanforgeError) -> None:
    """Assert that neither an error nor its pickle shows the secrets; tracebacks show no local variables."""
    error.__traceback__ = None
    assert_hidden(shown_by(error))
    assert_hidden(shown_by(pickle.loads(pickle.dumps(error))))  # noqa: S301 - pickled here


@each_form
async def test_a_refusal_that_quotes_the_source_is_masked(form: Callable[[str], str]) -> None:
    """The message and the body of a refusal show the source without its keys."""
    error = await failure_of(lambda _: httpx.Response(400, json=envelope(f"cannot read {form(URL)}")))
    assert isinstance(error, APIError)
    assert error.message.startswith("cannot read s3")
    assert "***" in error.message
    assert "***" in error.body
    assert_error_hides(error)


@pytest.mark.parametrize("status", [200, 502])
@each_form
async def test_a_page_that_quotes_the_request_is_masked(form: Callable[[str], str], status: int) -> None:
    """The excerpt of a gateway's page shows no secret, even if it ends in the middle of one."""
    for length in range(1980, 2060):
        page = f"<pre>{'x' * length}{form(URL)}</pre>"
        error = await failure_of(partial(_answer, httpx.Response(status, text=page)))
        assert isinstance(error, APIError | InvalidResponseError)
        assert len(error.body) <= 2048
        assert_error_hides(error)


async def test_a_message_is_masked_before_it_is_cut() -> None:
    """A message that is truncated in the middle of a secret shows no part of it."""
    for length in range(440, 500):
        error = await failure_of(partial(_answer, httpx.Response(400, json=envelope(f"{'x' * length} {URL}"))))
        assert_error_hides(error)


async def test_a_redirect_that_repeats_the_query_is_masked() -> None:
    """The message about a redirect shows its target without the source's keys."""
    error = await failure_of(lambda request: httpx.Response(302, headers={"Location": f"{request.url}"}))
    assert "redirected to " in str(error)
    assert_error_hides(error)


async def test_a_body_that_is_too_large_is_masked() -> None:
    """The excerpt of a body that is too large shows no secret."""
    error = await failure_of(lambda _: httpx.Response(200, text=f"{URL}{'x' * 5000}"), max_response_bytes=1000)
    assert isinstance(error, InvalidResponseError)
    assert error.body.startswith("s3://***@bucket/folder/")
    assert_error_hides(error)


async def test_an_exception_that_quotes_the_request_is_no_cause() -> None:
    """If a transport's exception contains the URL in its text or its request, it is masked and not chained."""

    def quote_url(request: httpx.Request) -> httpx.Response:
        msg = f"cannot send GET {request.url}"
        raise httpx.WriteError(msg)

    def keep_request(request: httpx.Request) -> httpx.Response:
        msg = "cannot send"
        raise httpx.WriteError(msg, request=request) from OSError(5, "broken")

    def quote_url_in_cause(request: httpx.Request) -> httpx.Response:
        msg = "cannot send"
        raise httpx.WriteError(msg) from OSError(5, str(request.url))

    for handler in (quote_url, keep_request, quote_url_in_cause):
        error = await failure_of(handler)
        assert isinstance(error, TransportError)
        assert "WriteError: cannot send" in str(error)
        assert (error.__cause__, error.__context__) == (None, None)
        assert_error_hides(error)


async def test_an_exception_without_secrets_stays_the_cause() -> None:
    """The exception of a transport is chained if it quotes no source."""

    def fail(_request: httpx.Request) -> httpx.Response:
        msg = "broken pipe"
        raise httpx.WriteError(msg)

    assert isinstance((await failure_of(fail)).__cause__, httpx.WriteError)


async def test_no_cache_or_repr_holds_a_source(caplog: pytest.LogCaptureFixture) -> None:
    """After a call, neither the client, its request nor the log shows the source that was sent to the server."""
    caplog.set_level(logging.DEBUG)
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json={})

    async with client_of(answer) as client:
        request = update_request()
        await client._session.call(request)
        await client._session.call(ApiRequest("/cfp/v1/image/options", dict))
        assert client._session._url.cache_info().currsize == 1
        assert_hidden("".join(map(repr, (client, vars(client._session), request, request.http_request, requests))))
    assert requests[0].url.params["url"] == URL
    assert "hidden%252FSECRET%252Bkey" in str(requests[0].url)
    assert_hidden(caplog.text + "".join(repr(vars(record)) for record in caplog.records))


@pytest.mark.parametrize("transport", [None, httpx.AsyncHTTPTransport, httpx_aiohttp.AiohttpTransport])
async def test_no_cache_of_a_library_holds_a_source(transport: Callable[[], httpx.AsyncBaseTransport] | None) -> None:
    """After a call, no `lru_cache` of any library contains the source, with every kind of transport."""
    async with LoopbackServer(lambda _: http_answer(wire(5))) as server:
        options: dict[str, Any] = {"base_url": server.url, "transport": transport and transport()}
        async with ClanforgeClient(("key", "secret"), account_service_id=7, **options) as client:
            await client.image_updates.create(501, 77, "nightly", S3Source("bucket", "folder", "CACHED", "secret"))
    assert len(server.requests) == 1
    gc.unfreeze()  # the caches of modules that were imported before the tests ran
    cache_type = type(lru_cache(str))
    caches = [item for item in gc.get_objects() if type(item) is cache_type]
    gc.freeze()
    assert len(caches) > 10
    assert not any("CACHED" in repr(held) for cache in caches for held in gc.get_referents(cache))


async def test_a_source_is_sent_without_aiohttp(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request with a source works if the libraries whose caches are cleared are not installed."""
    monkeypatch.delitem(sys.modules, "yarl._url", raising=False)
    async with client_of(lambda _: httpx.Response(200, json=wire(5))) as client:
        assert (await client.image_updates.create(501, 77, "nightly", SOURCE)).id == 5


@pytest.mark.parametrize("source", [SOURCE, URL], ids=["source", "text"])
@pytest.mark.parametrize("status", [200, 302, 400, 502])
async def test_no_local_variable_of_a_call_shows_a_source(source: S3Source | str, status: int) -> None:
    """If a response quotes the request, no local variable in the traceback of the failed call shows the source."""

    def quote_request(request: httpx.Request) -> httpx.Response:
        text = str(request.url)
        return httpx.Response(status, headers={"Location": text}, json={"updateid": "five", "error_message": text})

    async with client_of(quote_request) as client:
        with pytest.raises(ClanforgeError) as failed:
            await client.image_updates.create(501, 77, "nightly", source)
    assert_hidden(shown_by(failed.value))


async def test_no_local_variable_shows_a_source() -> None:
    """The local variables of the package's functions, in the traceback of a failed call, show no source."""

    def fail(_request: httpx.Request) -> httpx.Response:
        msg = "broken pipe"
        raise httpx.WriteError(msg)

    for auth in (httpx.BasicAuth("name", "password"), ("key", "secret")):
        async with ClanforgeClient(auth, account_service_id=7, transport=httpx.MockTransport(fail)) as client:
            with pytest.raises(TransportError) as failed:
                await client._session.call(update_request())
        assert_hidden(shown_by(failed.value))


async def test_instrumented_requests_with_a_source_make_no_span(monkeypatch: pytest.MonkeyPatch) -> None:
    """With OpenTelemetry's instrumentation of httpx, a request with a source creates no span; other requests do."""
    collected = Collected(monkeypatch)
    async with LoopbackServer(lambda _: http_answer({})) as server:
        transport = AsyncOpenTelemetryTransport(httpx.AsyncHTTPTransport(), tracer_provider=collected.tracers)
        async with ClanforgeClient(("key", "secret"), base_url=server.url, transport=transport) as client:
            await client._session.call(update_request())
            await client._session.call(ApiRequest("/cfp/v1/image/options", dict, {"imageid": "5"}))
    assert len(server.requests) == 2
    [span] = collected.spans("GET")
    assert "imageid=5" in span.to_json()


@each_form
async def test_the_error_of_a_job_is_masked(form: Callable[[str], str]) -> None:
    """A job's error, its dump, and the error that it raises show no secret."""
    server = ScriptedServer()
    server.diff(5, wire(5, JobState.FAILED, joberror=f"cannot read {form(URL)}"))
    async with server.client() as client:
        job = await client.image_diffs.status(5)
    assert job.error is not None
    assert job.error.startswith("cannot read s3")
    with pytest.raises(JobFailedError) as failed:
        job.raise_for_failure()
    assert_hidden(f"{job} {job_to_dict(job)} {pickle.dumps(job)!r}")
    assert_error_hides(failed.value)


@each_form
def test_an_unreadable_job_is_masked(form: Callable[[str], str]) -> None:
    """The error about a malformed job shows no secret of its fields."""
    with pytest.raises(InvalidResponseError) as failed:
        job_from_dict(JobKind.IMAGE_DIFF, {"diffid": "five", "joberror": form(URL)})
    assert "***" in failed.value.body
    assert_error_hides(failed.value)


@each_form
def test_the_details_of_a_diff_are_masked(form: Callable[[str], str]) -> None:
    """Source URLs in a diff's details are masked at any depth; nothing else changes, even if they are parsed again."""
    image = {"imageid": 3, "urls": [{"update_url": form(URL)}], "path": "a/b", "active": None}
    job = job_from_dict(JobKind.IMAGE_DIFF, wire(5, JobState.FAILED, image=image))
    assert job.details is not None
    assert job.details.image is not None
    assert "***" in str(job.details.image["urls"])
    assert job.details.image == image | {"urls": job.details.image["urls"]}
    assert job_from_dict(JobKind.IMAGE_DIFF, job_to_dict(job)) == job
    with pytest.raises(JobFailedError) as failed:
        job.raise_for_failure()
    assert_hidden(f"{job} {job_to_dict(job)} {pickle.dumps(job)!r}")
    assert_error_hides(failed.value)


def test_details_nested_too_deeply_are_refused() -> None:
    """Details that are nested too deeply to be masked are invalid."""
    nested: dict[str, Any] = {}
    for _ in range(100_000):
        nested = {"image": nested}
    with pytest.raises(InvalidResponseError) as failed:
        job_from_dict(JobKind.IMAGE_DIFF, wire(5, **nested))
    assert failed.value.fields == ("image",)


# A real call


@pytest.mark.parametrize("failure", [*UNKNOWN_OUTCOMES, *REJECTED, *UNSENT])
def test_a_failed_update_shows_no_secret(failure: str, caplog: pytest.LogCaptureFixture) -> None:
    """However the creation of an update fails, its error, the cause, their notes and the log show no secret."""

    @virtual_time
    async def run() -> None:
        def fail() -> Answer:
            known = REJECTED | UNSENT
            return known[failure] if failure in known else UNKNOWN_OUTCOMES[failure][0]()

        server = ScriptedServer()
        server.on("imageupdate/create", 0, fail)
        server.on("image/options", 0, lambda: answer(options_wire(update_url=URL, updateid=6)))
        server.on("imageupdate/status", 6, lambda: httpx.Response(400, json=envelope(f"cannot read {URL}")))
        async with server.client(max_retries=1, max_response_bytes=MAX_RESPONSE_BYTES) as client:
            with pytest.raises(ClanforgeError) as failed:
                await client.image_updates.create(501, 77, "nightly", SOURCE)
        assert "HIDDENACCESS" in str(server.requests[0].url)
        error = failed.value
        assert_error_hides(error)
        if isinstance(error, OutcomeUnknownError):
            assert isinstance(error.__cause__, ClanforgeError)
            assert "***" in str(error.__cause__.__notes__)
            assert_error_hides(error.__cause__)

    with caplog.at_level(logging.DEBUG, "clanforge_async"):
        run()
    assert "imageupdate/create" in caplog.text
    assert_hidden(caplog.text)
