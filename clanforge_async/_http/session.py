"""HTTP: the one function through which every request goes.

An attempt is: wait at the gate, sign, exchange one request for one answer, and have the answer interpreted. It talks
to an httpx transport directly, not through `httpx.AsyncClient`, which would cost as much again per request, follow
proxies' and netrc's advice on loopback, and log every poll's address at INFO.
"""

from __future__ import annotations

import asyncio
import math
import platform
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import lru_cache, partial
from importlib import metadata
from typing import cast
from urllib.parse import urlencode

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from clanforge_async._http.cancellation import Handover
from clanforge_async._http.config import Options
from clanforge_async._http.connection_pool import FRESH, make_pool
from clanforge_async._http.decoding import ACCEPTED_ENCODINGS, read_body
from clanforge_async._http.exception_mapping import is_of_the_network, may_quote_credentials, translated
from clanforge_async._http.limiter import Gate
from clanforge_async._http.request import Call, Reply
from clanforge_async._http.request_log import log_answer, log_failure, log_repetition
from clanforge_async._http.response import PATIENCE, interpret, may_repeat
from clanforge_async._http.tracing import Traced
from clanforge_async.auth import AccessKeyAuth, BearerTokenAuth
from clanforge_async.errors import APIError, ClanforgeError, ConfigurationError, InvalidResponseError, TransportError
from clanforge_async.jobs import Reading

_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": ACCEPTED_ENCODINGS,
    # The vendor warns not to cache these calls, and what stands between may not know.
    "Cache-Control": "no-cache",
    # What the vendor asks for, although no request carries a form.
    "Content-Type": "application/x-www-form-urlencoded",
    "User-Agent": f"clanforge-async/{metadata.version('clanforge-async')} Python/{platform.python_version()}",
}
_SIGN_ONCE = (AccessKeyAuth, BearerTokenAuth)
_ILLEGAL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]|^\s|\s$")
_BACKOFF = wait_random_exponential(multiplier=0.5, max=10)
_TOO_MANY_REQUESTS, _UNAVAILABLE = 429, 503


class Transport:
    """Sends calls, within the limits and with the credentials of a client."""

    def __init__(self, options: Options, transport: httpx.AsyncBaseTransport | None) -> None:
        self._options = options
        self._gate = Gate(options.max_rate, options.max_concurrency)
        self._inner = transport
        self._closed = False
        self._base = str(options.url).rstrip("/")
        self._url = lru_cache(maxsize=1024)(self._read_url)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._headers = httpx.Headers({"Host": options.url.netloc.decode("ascii"), **_HEADERS})
        self._timeout = options.phases.as_dict()
        self._seconds = options.seconds_per_request
        account = options.account_service_id
        self._query = {} if account is None else {"accountserviceid": str(account)}

    async def aclose(self) -> None:
        """Close the connections; every later call is refused."""
        self._closed = True
        inner, self._inner = self._inner, None
        # Connections of a loop that has ended went with it, and cannot be closed from another.
        if inner is not None and self._loop in (None, asyncio.get_running_loop()):
            await inner.aclose()

    async def call(self, call: Call) -> Reading:
        """Send a call until it is answered, as often as it may be sent.

        Raises:
            ClanforgeError: As the last attempt did.
        """
        try:
            return await self.attempt(call, PATIENCE)
        except ClanforgeError as error:
            if not may_repeat(call, error):
                raise
            return await self._repeated(call, error)

    async def _repeated(self, call: Call, failure: ClanforgeError) -> Reading:
        # Nearly every call is answered at its first attempt, and tenacity would take a fifth of the time of that.
        retrying = AsyncRetrying(
            retry=retry_if_exception(lambda error: may_repeat(call, error)),
            stop=stop_after_attempt(1 + self._options.max_retries),
            wait=_pause,
            before_sleep=partial(log_repetition, call),
            sleep=asyncio.sleep,
            reraise=True,
        )
        first = iter([failure])

        async def attempt() -> Reading:
            for error in first:
                raise error
            return await self.attempt(call, PATIENCE)

        return await retrying(attempt)

    async def attempt(self, call: Call, patience: float = math.inf) -> Reading:
        """Send a call once.

        Args:
            call: The call.
            patience: Seconds of cooling down to wait for, at the most.

        Raises:
            ClanforgeError: It failed, in whichever way.
        """
        self._open()
        call.sent_at = -math.inf
        try:
            reply = await self._replied(call, patience)
        except (TransportError, InvalidResponseError) as failure:
            log_failure(call, failure)
            raise
        log_answer(call, reply)
        try:
            reading = interpret(call.kind, reply)
        except APIError as error:
            if error.status_code == _TOO_MANY_REQUESTS or (
                error.status_code == _UNAVAILABLE and error.retry_after is not None
            ):
                self._gate.cool_down(error, call.sent_at)
            raise
        self._gate.settle()
        return reading

    async def _replied(self, call: Call, patience: float) -> Reply:
        try:
            return await self._signed(call, patience)
        except Exception as exc:
            if not is_of_the_network(exc):
                raise
            raise translated(exc, call) from (None if may_quote_credentials(exc) else exc)

    async def _signed(self, call: Call, patience: float) -> Reply:
        auth = self._options.auth
        signs_once = type(auth) in _SIGN_ONCE
        if call.request is None:
            call.request = self._request(call)
            if signs_once:
                next(auth.auth_flow(call.request))
        if signs_once:
            return self._reply(call, *await self._exchange(call, call.request, patience))
        # Other kinds of credentials, and what others have made of ours, may want to see the answer and sign again.
        async with aclosing(auth.async_auth_flow(_copy(call.request))) as flow:
            request = await anext(flow)
            while True:
                _check_headers(request)
                response, body = await self._exchange(call, request, patience)
                try:
                    request = await flow.asend(_as_read(response, body, request))
                except StopAsyncIteration:
                    return self._reply(call, response, body)

    async def _exchange(self, call: Call, request: httpx.Request, patience: float) -> tuple[httpx.Response, bytes]:
        async with self._gate.slot(patience):
            handover = Handover()
            if not call.repeatable:
                request = _unrepeatable(request)
            request.extensions = {
                "timeout": self._timeout,
                "trace": handover.trace,
                # What may be sent only once is not put on a connection that the server may be closing at that moment.
                FRESH: not call.repeatable,
            }
            call.sent_at = asyncio.get_running_loop().time()
            try:
                with Traced(request):
                    return await handover.carry(self._receive(self._open(), request), self._seconds)
            finally:
                request.extensions = {}  # a request that is kept must not keep the task that has sent it

    async def _receive(self, inner: httpx.AsyncBaseTransport, request: httpx.Request) -> tuple[httpx.Response, bytes]:
        response = await inner.handle_async_request(request)
        stream = cast("httpx.AsyncByteStream", response.stream)
        try:
            return response, await read_body(response, self._options.max_response_bytes)
        finally:
            await stream.aclose()

    def _open(self) -> httpx.AsyncBaseTransport:
        if self._closed:
            msg = "the client is closed"
            raise ConfigurationError(msg)
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            msg = "a client serves the event loop in which it was first used, and no other"
            raise ConfigurationError(msg)
        self._loop = loop
        if self._inner is None:
            self._inner = make_pool(self._options)
        return self._inner

    def _request(self, call: Call) -> httpx.Request:
        request = httpx.Request("GET", self._url(call.path, urlencode({**self._query, **call.params})))
        request.headers = httpx.Headers(self._headers)  # a copy that shares what it holds, which a request's own is not
        return request

    def _read_url(self, path: str, query: str) -> httpx.URL:
        # As text: httpx takes four times as long to put an address together as to read one.
        return httpx.URL(self._base + path + (query and f"?{query}"))

    def _reply(self, call: Call, response: httpx.Response, body: bytes) -> Reply:
        return Reply("GET", self._base + call.path, response.status_code, response.headers, body)


def _copy(request: httpx.Request) -> httpx.Request:
    return httpx.Request(request.method, request.url, headers=request.headers)


def _check_headers(request: httpx.Request) -> None:
    # Every transport would refuse such a header too, each with an error or a log line that quotes it.
    if any(_ILLEGAL.search(value) for _, value in request.headers.raw):
        msg = "the credentials make a header that holds a line's end or another control character"
        raise ConfigurationError(msg)


def _unrepeatable(request: httpx.Request) -> httpx.Request:
    headers = httpx.Headers(request.headers)
    headers["Content-Length"] = "0"
    return httpx.Request(request.method, request.url, headers=headers, stream=_ReadOnce())


class _ReadOnce(httpx.AsyncByteStream):
    """No body, but one that can be read only once.

    aiohttp sends every GET again of its own accord when the connection drops, unless its body is used up. A GET
    that has a side effect must not be.
    """

    def __init__(self) -> None:
        self._is_read = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._is_read:
            raise httpx.StreamConsumed
        self._is_read = True
        return
        yield b""


def _as_read(response: httpx.Response, body: bytes, request: httpx.Request) -> httpx.Response:
    headers = httpx.Headers(response.headers)
    headers.pop("Content-Encoding", None)
    return httpx.Response(response.status_code, headers=headers, content=body, request=request)


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    asked_for = error.retry_after if isinstance(error, APIError) else None
    return max(asked_for or 0.0, _BACKOFF(state))
