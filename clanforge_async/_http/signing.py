"""Signing: adds credentials to HTTP requests, by a fixed header or by an `httpx.Auth` flow."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import httpx

from clanforge_async.auth import AccessKeyAuth, BearerTokenAuth
from clanforge_async.errors import ConfigurationError

_FIXED_HEADER = (AccessKeyAuth, BearerTokenAuth)
_ILLEGAL_HEADER_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]|^\s|\s$")


def signs_once(auth: httpx.Auth) -> bool:
    """Whether a request that is signed once stays signed. Subclasses of our own classes may sign otherwise."""
    return type(auth) in _FIXED_HEADER


def sign(auth: httpx.Auth, request: httpx.Request) -> None:
    """Add the header of credentials for which `signs_once` is true."""
    next(auth.auth_flow(request))


async def run_auth_flow(
    auth: httpx.Auth,
    request: httpx.Request,
    send: Callable[[httpx.Request], Awaitable[tuple[httpx.Response, bytes]]],
) -> tuple[httpx.Response, bytes]:
    """Send each request of an auth flow, and return the last response with its body.

    Args:
        auth: The credentials. Their flow may look at a response and sign again.
        request: The unsigned request; stays as it is.
        send: Sends one signed request and reads its response.

    Raises:
        ConfigurationError: The flow sets a header that HTTP cannot carry.
    """
    async with aclosing(auth.async_auth_flow(_copy(request))) as flow:
        signed = await anext(flow)
        while True:
            _check_headers(signed)
            response, body = await send(signed)
            try:
                signed = await flow.asend(_with_body(response, body, signed))
            except StopAsyncIteration:
                return response, body


def _copy(request: httpx.Request) -> httpx.Request:
    return httpx.Request(request.method, request.url, headers=request.headers)


def _check_headers(request: httpx.Request) -> None:
    # Every transport rejects such a header too, but quotes it in its error or its log.
    if any(_ILLEGAL_HEADER_VALUE.search(value) for _, value in request.headers.raw):
        msg = "the credentials make a header that holds a line's end or another control character"
        raise ConfigurationError(msg)


def _with_body(response: httpx.Response, body: bytes, request: httpx.Request) -> httpx.Response:
    headers = httpx.Headers(response.headers)
    headers.pop("Content-Encoding", None)
    return httpx.Response(response.status_code, headers=headers, content=body, request=request)
