"""Signing: adds credentials to HTTP requests, by a fixed header or by an `httpx.Auth` flow."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import httpx

from clanforge_async._codec.masking import masked_start
from clanforge_async._http.auth import AccessKeyAuth, BearerTokenAuth
from clanforge_async._http.request import HttpRequest
from clanforge_async.errors import LONGEST_MESSAGE, ClanforgeError, ConfigurationError, TransportError

Exchange = Callable[[httpx.Request], Awaitable[tuple[httpx.Response, bytes]]]
"""Sends one HTTP request and reads its response."""

_FIXED_HEADER = (AccessKeyAuth, BearerTokenAuth)
_HTTPX_ERRORS = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, httpx.CookieConflict)
_ILLEGAL_HEADER_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]|^\s|\s$")
_REFUSED = frozenset(range(400, 500)) - {408}


def signs_once(auth: httpx.Auth) -> bool:
    """Whether a request has to be signed only once. Subclasses of our own classes may sign in another way."""
    return type(auth) in _FIXED_HEADER


def sign(auth: httpx.Auth, request: httpx.Request) -> None:
    """Add the header of credentials for which `signs_once` is true."""
    next(auth.auth_flow(request))


class AuthFlow:
    """One run of an `httpx.Auth` flow, which may send further requests, such as one for a token.

    Args:
        auth: The credentials. Their flow may read a response and sign again.
        request: The unsigned request; it is not changed.
        send: Sends the request to the API.
        send_other: Sends another request of the flow.
    """

    def __init__(self, auth: httpx.Auth, request: httpx.Request, send: Exchange, send_other: Exchange) -> None:
        self._auth = auth
        self._request = HttpRequest(request.method, request.url, headers=request.headers)
        self._send = send
        self._send_other = send_other
        self._may_have_been_processed = False

    async def run(self) -> tuple[httpx.Response, bytes]:
        """Send each request of the flow, and return the last response with its body.

        Raises:
            ConfigurationError: The flow sends nothing, or sets a header that is invalid in HTTP.
            TransportError: Another request of the flow failed, or the flow raised an error of httpx.
            Exception: Any other error of the flow, unchanged.
        """
        async with aclosing(self._auth.async_auth_flow(self._request)) as flow:
            signed = await self._next_request(flow, None)
            if signed is None:
                msg = f"the auth flow of {type(self._auth).__name__} sends no request"
                raise ConfigurationError(msg)
            while True:
                _check_headers(signed)
                is_for_api = self._is_for_api(signed)
                response, body = await (self._exchange(signed) if is_for_api else self._exchange_other(signed))
                following = await self._next_request(flow, _with_body(response, body, signed))
                if following is None:
                    break
                signed = following
        if not is_for_api:
            msg = f"the auth flow ended with HTTP {response.status_code} from {signed.url.host}"
            raise self._error(msg)
        return response, body

    async def _next_request(
        self, flow: AsyncGenerator[httpx.Request, httpx.Response], response: httpx.Response | None
    ) -> httpx.Request | None:
        try:
            return await (anext(flow) if response is None else flow.asend(response))
        except StopAsyncIteration:
            return None
        except _HTTPX_ERRORS as exc:
            msg = masked_start(f"the auth flow failed: {type(exc).__name__}: {exc}", LONGEST_MESSAGE)
            raise self._error(msg) from exc

    def _is_for_api(self, request: httpx.Request) -> bool:
        # A signer may yield a copy with more query parameters. If in doubt, treat a request as the API's: it is then
        # sent only once.
        return request is self._request or request.url.path.endswith(self._request.url.path)

    async def _exchange(self, request: httpx.Request) -> tuple[httpx.Response, bytes]:
        self._may_have_been_processed = True
        response, body = await self._send(request)
        self._may_have_been_processed = response.status_code not in _REFUSED
        return response, body

    async def _exchange_other(self, request: httpx.Request) -> tuple[httpx.Response, bytes]:
        try:
            return await self._send_other(request)
        except ClanforgeError as error:
            msg = f"the auth flow's request to {request.url.host} failed: {error}"
            raise self._error(msg) from error

    def _error(self, message: str) -> TransportError:
        return TransportError(message, request_sent=self._may_have_been_processed)


def _check_headers(request: httpx.Request) -> None:
    # Every transport also rejects such a header, but quotes it in its error or its log.
    if any(_ILLEGAL_HEADER_VALUE.search(value) for _, value in request.headers.raw):
        msg = "the credentials produce a header with a line break or another control character"
        raise ConfigurationError(msg)


def _with_body(response: httpx.Response, body: bytes, request: httpx.Request) -> httpx.Response:
    headers = httpx.Headers(response.headers)
    headers.pop("Content-Encoding", None)
    return httpx.Response(response.status_code, headers=headers, content=body, request=request)
