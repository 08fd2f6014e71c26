"""Session: every request of a client goes through `Session.attempt`.

An attempt waits for the limiter, sends one signed HTTP request, and parses the response. It uses an httpx transport
directly: `httpx.AsyncClient` would double the CPU time of a request, apply proxies and netrc to loopback, and log the
URL of every poll at INFO.
"""

from __future__ import annotations

import asyncio
import math
import platform
from collections.abc import Coroutine
from functools import lru_cache
from typing import Any, TypeVar, cast
from urllib.parse import quote, urlencode

import httpx

from clanforge_async._http.cancellation import cancellation_behind, may_use_httpcore, shield_connection
from clanforge_async._http.config import ClientConfig
from clanforge_async._http.connection_pool import NEW_CONNECTION, ConnectionPool, host_and_port, make_pool
from clanforge_async._http.decoding import ACCEPTED_ENCODINGS, read_body
from clanforge_async._http.exception_mapping import (
    is_network_error,
    map_exception,
    may_quote_credentials,
    reports_unsent_requests,
)
from clanforge_async._http.httpcore_events import HttpcoreEvents
from clanforge_async._http.limiter import CooldownError, RequestLimiter
from clanforge_async._http.request import ApiRequest, ApiResponse, HttpRequest, RawResponse, RequestObserver
from clanforge_async._http.request_log import log_failure, log_response
from clanforge_async._http.response import make_cooldown_error, parse_response
from clanforge_async._http.retry_policy import call_with_retries, is_throttled
from clanforge_async._http.signing import AuthFlow, sign, signs_once
from clanforge_async._http.single_use_body import with_single_use_body
from clanforge_async._http.tracing import capture_trace_headers, suppress_instrumentation
from clanforge_async._http.url_caches import clear_url_caches
from clanforge_async._http.version import __version__
from clanforge_async.errors import APIError, ClanforgeError, ConfigurationError, InvalidResponseError, TransportError

T = TypeVar("T")

_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": ACCEPTED_ENCODINGS,
    # The vendor's documentation says that these calls must not be cached, and a proxy may not know that.
    "Cache-Control": "no-cache",
    # The vendor's documentation requires it, although no request contains a form.
    "Content-Type": "application/x-www-form-urlencoded",
    "User-Agent": f"clanforge-async/{__version__} Python/{platform.python_version()}",
}


class Session:
    """Sends API requests within a client's limits and with its credentials.

    Attributes:
        observer: Gets each request and its outcome; None: no observer.
    """

    def __init__(self, config: ClientConfig) -> None:
        self.observer: RequestObserver | None = None
        transport = config.transport
        self._config = config
        self._limiter = RequestLimiter(config.max_rate, config.max_concurrency)
        self._transport = transport
        self._closed = False
        self._base = str(config.url).rstrip("/")
        self._url = lru_cache(maxsize=1024)(self._plain_url)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server_clock: float | None = None
        self._headers = httpx.Headers({"Host": config.url.netloc.decode("ascii"), **_HEADERS})
        self._timeout = config.httpx_timeout.as_dict()
        self._seconds = config.seconds_per_request
        self._signs_once = signs_once(config.auth)
        self._reports_unsent_requests = transport is None or reports_unsent_requests(transport)
        self._needs_shield = transport is not None and may_use_httpcore(transport)
        account = config.account_service_id
        self._query = {} if account is None else {"accountserviceid": str(account)}

    @property
    def config(self) -> ClientConfig:
        """The client's configuration."""
        return self._config

    def server_now(self) -> float | None:
        """Return the server's time in Unix seconds; None before the first ``Date`` header."""
        return None if self._server_clock is None else self._server_clock + asyncio.get_running_loop().time()

    def url_of(self, path: str) -> str:
        """Return the URL of a call, without its query."""
        return self._base + path

    async def aclose(self) -> None:
        """Close the connections; later requests raise `ConfigurationError`."""
        self._closed = True
        transport, self._transport = self._transport, None
        # The connections of an event loop that has ended no longer exist, and cannot be closed from another loop.
        if transport is not None and self._loop in (None, asyncio.get_running_loop()):
            await transport.aclose()

    async def call(self, request: ApiRequest[T]) -> ApiResponse[T]:
        """Send a request, with retries.

        Raises:
            ClanforgeError: The error of the last attempt.
        """
        return await call_with_retries(self.attempt, request, self._config.max_retries)

    async def attempt(self, request: ApiRequest[T], max_cooldown: float = math.inf) -> ApiResponse[T]:
        """Send a request once.

        Args:
            request: The request.
            max_cooldown: Longest cooldown in seconds to wait for before sending.

        Raises:
            ClanforgeError: The attempt failed.
        """
        self.ensure_open()
        request.sent_at = -math.inf
        try:
            raw = await self._send(request, max_cooldown)
        except BaseException as error:
            if isinstance(error, TransportError | InvalidResponseError):
                log_failure(request, error)
            self._report_end(request, None, error)
            raise
        log_response(request, raw)
        try:
            response = parse_response(request.parse, raw)
        except ClanforgeError as error:
            if isinstance(error, APIError) and is_throttled(error):
                self._limiter.start_cooldown(error, request.sent_at)
            self._report_end(request, raw, error)
            raise
        self._limiter.reset_backoff()
        if response.server_time is not None:
            self._server_clock = response.server_time.timestamp() - asyncio.get_running_loop().time()
        self._report_end(request, raw, None)
        return response

    async def _send(self, request: ApiRequest[Any], max_cooldown: float) -> RawResponse:
        """Wait for the limiter, sign, and send. Some credentials need several requests."""
        url = self.url_of(request.path)
        try:
            async with self._limiter.slot(max_cooldown):
                http_request = request.http_request or self._build(request)
                if self._signs_once:
                    response, body = await self._send_call(request, http_request)
                else:
                    response, body = await self._run_auth_flow(request, http_request)
        except CooldownError as cooldown:
            raise make_cooldown_error(url, cooldown.status_code, cooldown.seconds) from None
        return RawResponse("GET", url, response.status_code, response.headers, body)

    def _build(self, request: ApiRequest[Any]) -> HttpRequest:
        # A cached URL lives as long as the client, so a URL with parameters, which can be secret, is not cached.
        is_plain = request.sends_account and not request.params
        http_request = HttpRequest("GET", self._url(request.path) if is_plain else self._parse_url(request))
        # Copying our `Headers` is cheap, since the copy shares their contents. Headers passed to a request are copied.
        http_request.headers = httpx.Headers(self._headers)
        if self._signs_once:
            sign(self._config.auth, http_request)
        request.http_request = http_request
        return http_request

    async def _run_auth_flow(self, request: ApiRequest[Any], http_request: HttpRequest) -> tuple[httpx.Response, bytes]:
        is_first = True

        def count() -> None:
            nonlocal is_first
            if not is_first:
                self._limiter.count()
            is_first = False

        async def send(signed: httpx.Request) -> tuple[httpx.Response, bytes]:
            count()
            return await self._send_call(request, signed)

        async def send_other(other: httpx.Request) -> tuple[httpx.Response, bytes]:
            count()
            return await self._exchange(other, other.method)

        return await AuthFlow(self._config.auth, http_request, send, send_other).run()

    async def _send_call(self, request: ApiRequest[Any], http_request: httpx.Request) -> tuple[httpx.Response, bytes]:
        """Send the HTTP request of an API call."""
        if not request.has_secrets:
            return await self._send_once(request, http_request)
        try:
            with suppress_instrumentation():
                return await self._send_once(request, http_request)
        finally:
            clear_url_caches()

    async def _send_once(self, request: ApiRequest[Any], http_request: httpx.Request) -> tuple[httpx.Response, bytes]:
        name = f"GET {request.path}"
        now = asyncio.get_running_loop().time
        request.sent_at = now()
        if self.observer is not None:
            self.observer.sent(request)
        if request.idempotent:
            return await self._exchange(http_request, name)
        request.sent_by = math.inf
        try:
            return await self._exchange(with_single_use_body(http_request, request), name, new_connection=True)
        finally:
            request.sent_by = min(request.sent_by, now())

    async def _exchange(
        self, http_request: httpx.Request, name: str, *, new_connection: bool = False
    ) -> tuple[httpx.Response, bytes]:
        """Send one HTTP request and read its response; network exceptions become errors of this package."""
        transport = self.ensure_open()
        events = HttpcoreEvents()
        extensions = http_request.extensions
        http_request.extensions = {
            "timeout": self._timeout,
            **extensions,
            "trace": events,
            NEW_CONNECTION: new_connection,
        }
        try:
            with capture_trace_headers(http_request):
                result = await self._run_exchange(self._receive(transport, http_request), events)
        except Exception as exc:
            if not is_network_error(exc):
                raise
            name = f"{name} at {_destination(http_request.url, transport)}"
            error = map_exception(exc, name, may_be_unsent=self._reports_unsent_requests)
            cause = None if may_quote_credentials(exc) else exc
        else:
            self._needs_shield = self._needs_shield and events.any_seen
            return result
        finally:
            http_request.extensions = extensions  # a request that is stored must not keep the events of this exchange
        raise error from cause  # outside `except`: there, the original exception would become the error's context

    async def _run_exchange(self, exchange: Coroutine[Any, Any, T], events: HttpcoreEvents) -> T:
        """Await an exchange within the time limit.

        Raises:
            asyncio.CancelledError: The caller was cancelled, even if the transport turned that into another error or
                into a response.
            httpx.ReadError: The transport was cancelled, but not by the caller.
        """
        task = cast("asyncio.Task[object]", asyncio.current_task())
        cancellations = task.cancelling()
        is_expired = False

        def expire() -> None:
            nonlocal is_expired
            is_expired = task.cancel()

        # `asyncio.timeout` does the same, but takes a noticeable share of the CPU time of a poll.
        timer = None if self._seconds is None else task.get_loop().call_later(self._seconds, expire)
        try:
            result = await (shield_connection(exchange, events) if self._needs_shield else exchange)
        except (Exception, asyncio.CancelledError) as error:
            if is_expired and task.uncancel() <= cancellations:
                raise TimeoutError from None
            if task.cancelling() > cancellations:
                raise cancellation_behind(error) from None
            if isinstance(error, asyncio.CancelledError):
                msg = "the transport cancelled its own request"
                raise httpx.ReadError(msg) from error
            raise
        finally:
            if timer is not None:
                timer.cancel()
        if is_expired:  # pragma: no cover - Python 3.11 does not trace what follows a throw()
            task.uncancel()
        if task.cancelling() > cancellations:  # pragma: no branch - as above
            await asyncio.sleep(0)  # anyio re-raises a swallowed cancellation, and recognizes only its own
            raise asyncio.CancelledError
        return result

    async def _receive(
        self, transport: httpx.AsyncBaseTransport, http_request: httpx.Request
    ) -> tuple[httpx.Response, bytes]:
        response = await transport.handle_async_request(http_request)
        stream = cast("httpx.AsyncByteStream", response.stream)
        try:
            return response, await read_body(response, self._config.max_response_bytes)
        finally:
            await stream.aclose()

    def _report_end(self, request: ApiRequest[Any], raw: RawResponse | None, error: BaseException | None) -> None:
        if self.observer is not None and request.was_sent:
            self.observer.ended(request, raw, error)

    def ensure_open(self) -> httpx.AsyncBaseTransport:
        """Return the transport.

        Raises:
            ConfigurationError: The client is closed, or was first used in another event loop.
        """
        if self._closed:
            msg = "the client is closed"
            raise ConfigurationError(msg)
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            msg = "a client can only be used in the event loop in which it was first used"
            raise ConfigurationError(msg)
        self._loop = loop
        if self._transport is None:
            self._transport = make_pool(self._config)
        return self._transport

    def _plain_url(self, path: str) -> httpx.URL:
        return self._parse_url(ApiRequest(path, dict))

    def _parse_url(self, request: ApiRequest[Any]) -> httpx.URL:
        params = {**(self._query if request.sends_account else {}), **request.params}
        # %20 and + are both read as a space, but signatures are computed with %20.
        query = urlencode(params, quote_via=quote, safe="")
        try:
            # In httpx, parsing a string is four times faster than building a URL from its parts.
            return httpx.URL(self._base + request.path + (query and f"?{query}"))
        except httpx.InvalidURL:
            msg = f"the parameters of {request.path} are too long for a URL: {len(query)} characters"
        raise ConfigurationError(msg)


def _destination(url: httpx.URL, transport: httpx.AsyncBaseTransport) -> str:
    proxy = transport.proxy if isinstance(transport, ConnectionPool) else None
    return host_and_port(url) if proxy is None else f"{host_and_port(url)} through the proxy {proxy}"
