"""Session: every request of a client goes through `Session.attempt`.

An attempt waits for the limiter, sends one signed HTTP request, and parses the response. It uses an httpx transport
directly, not `httpx.AsyncClient`: that would double the cost of a request, apply proxies and netrc to loopback, and
log the URL of every poll at INFO.
"""

from __future__ import annotations

import asyncio
import math
import platform
from collections.abc import AsyncIterator
from functools import lru_cache
from importlib import metadata
from typing import Any, TypeVar, cast
from urllib.parse import urlencode

import httpx

from clanforge_async._http.cancellation import CancellationShield
from clanforge_async._http.config import ClientConfig
from clanforge_async._http.connection_pool import NEW_CONNECTION, make_pool
from clanforge_async._http.decoding import ACCEPTED_ENCODINGS, read_body
from clanforge_async._http.exception_mapping import is_network_error, map_exception, may_quote_credentials
from clanforge_async._http.limiter import RequestLimiter
from clanforge_async._http.request import ApiRequest, ApiResponse, RawResponse
from clanforge_async._http.request_log import log_failure, log_response
from clanforge_async._http.response import parse_response
from clanforge_async._http.retry_policy import call_with_retries, is_throttled
from clanforge_async._http.signing import run_auth_flow, sign, signs_once
from clanforge_async._http.tracing import capture_trace_headers
from clanforge_async.errors import APIError, ConfigurationError, InvalidResponseError, TransportError

T = TypeVar("T")

_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": ACCEPTED_ENCODINGS,
    # The vendor warns not to cache these calls, and a proxy may not know.
    "Cache-Control": "no-cache",
    # The vendor asks for it, although no request carries a form.
    "Content-Type": "application/x-www-form-urlencoded",
    "User-Agent": f"clanforge-async/{metadata.version('clanforge-async')} Python/{platform.python_version()}",
}


class Session:
    """Sends API requests within a client's limits and with its credentials."""

    def __init__(self, config: ClientConfig, transport: httpx.AsyncBaseTransport | None) -> None:
        self._config = config
        self._limiter = RequestLimiter(config.max_rate, config.max_concurrency)
        self._transport = transport
        self._closed = False
        self._base = str(config.url).rstrip("/")
        self._url = lru_cache(maxsize=1024)(self._parse_url)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._headers = httpx.Headers({"Host": config.url.netloc.decode("ascii"), **_HEADERS})
        self._timeout = config.httpx_timeout.as_dict()
        self._seconds = config.seconds_per_request
        self._signs_once = signs_once(config.auth)
        account = config.account_service_id
        self._query = {} if account is None else {"accountserviceid": str(account)}

    async def aclose(self) -> None:
        """Close the connections; later requests raise `ConfigurationError`."""
        self._closed = True
        transport, self._transport = self._transport, None
        # Connections of an event loop that has ended are gone, and cannot be closed from another.
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
        self._ensure_open()
        request.sent_at = -math.inf
        try:
            raw = await self._send(request, max_cooldown)
        except (TransportError, InvalidResponseError) as error:
            log_failure(request, error)
            raise
        log_response(request, raw)
        try:
            response = parse_response(request.parse, raw)
        except APIError as error:
            if is_throttled(error):
                self._limiter.start_cooldown(error, request.sent_at)
            raise
        self._limiter.reset_backoff()
        return response

    async def _send(self, request: ApiRequest[Any], max_cooldown: float) -> RawResponse:
        """Sign and send; network exceptions become errors of this package."""
        try:
            http_request = request.http_request or self._build(request)
            if self._signs_once:
                response, body = await self._exchange(request, http_request, max_cooldown)
            else:
                response, body = await run_auth_flow(
                    self._config.auth, http_request, lambda signed: self._exchange(request, signed, max_cooldown)
                )
        except Exception as exc:
            if not is_network_error(exc):
                raise
            raise map_exception(exc, request) from (None if may_quote_credentials(exc) else exc)
        return RawResponse("GET", self._base + request.path, response.status_code, response.headers, body)

    def _build(self, request: ApiRequest[Any]) -> httpx.Request:
        http_request = httpx.Request("GET", self._url(request.path, urlencode({**self._query, **request.params})))
        # Copying our `Headers` is cheap: the copy shares their contents, unlike headers given to a request.
        http_request.headers = httpx.Headers(self._headers)
        if self._signs_once:
            sign(self._config.auth, http_request)
        request.http_request = http_request
        return http_request

    async def _exchange(
        self, request: ApiRequest[Any], http_request: httpx.Request, max_cooldown: float
    ) -> tuple[httpx.Response, bytes]:
        """Wait for the limiter, then send one HTTP request and read its response."""
        async with self._limiter.slot(max_cooldown):
            request.sent_at = asyncio.get_running_loop().time()
            if request.idempotent:
                return await self._shielded(http_request)
            return await self._shielded(_with_single_use_body(http_request), new_connection=True)

    async def _shielded(
        self, http_request: httpx.Request, *, new_connection: bool = False
    ) -> tuple[httpx.Response, bytes]:
        """Send within the time limit; a cancellation takes effect only when no connection can be lost by it."""
        shield = CancellationShield()
        http_request.extensions = {"timeout": self._timeout, "trace": shield.trace, NEW_CONNECTION: new_connection}
        try:
            with capture_trace_headers(http_request):
                return await shield.run(self._receive(self._ensure_open(), http_request), self._seconds)
        finally:
            http_request.extensions = {}  # a kept request must not keep the task that sent it alive

    async def _receive(
        self, transport: httpx.AsyncBaseTransport, http_request: httpx.Request
    ) -> tuple[httpx.Response, bytes]:
        response = await transport.handle_async_request(http_request)
        stream = cast("httpx.AsyncByteStream", response.stream)
        try:
            return response, await read_body(response, self._config.max_response_bytes)
        finally:
            await stream.aclose()

    def _ensure_open(self) -> httpx.AsyncBaseTransport:
        if self._closed:
            msg = "the client is closed"
            raise ConfigurationError(msg)
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            msg = "a client serves the event loop in which it was first used, and no other"
            raise ConfigurationError(msg)
        self._loop = loop
        if self._transport is None:
            self._transport = make_pool(self._config)
        return self._transport

    def _parse_url(self, path: str, query: str) -> httpx.URL:
        # Parsing a string is four times faster in httpx than assembling a URL from its parts.
        return httpx.URL(self._base + path + (query and f"?{query}"))


def _with_single_use_body(request: httpx.Request) -> httpx.Request:
    headers = httpx.Headers(request.headers)
    headers["Content-Length"] = "0"
    return httpx.Request(request.method, request.url, headers=headers, stream=_SingleUseBody())


class _SingleUseBody(httpx.AsyncByteStream):
    """An empty body that can be read only once.

    aiohttp sends every GET again by itself if the connection drops, unless its body is used up. A GET with a side
    effect must not be sent again.
    """

    def __init__(self) -> None:
        self._is_read = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._is_read:
            raise httpx.StreamConsumed
        self._is_read = True
        return
        yield b""
