"""Maps exceptions of httpx, of other transports and of the operating system to errors of this package."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Protocol, TypeGuard

import httpx

from clanforge_async._codec.masking import mask_secrets, masked_start
from clanforge_async._http.connection_pool import ConnectionPool
from clanforge_async.errors import (
    LONGEST_MESSAGE,
    ClanforgeError,
    InvalidResponseError,
    RequestTimeoutError,
    TransportError,
)

_NETWORK_ERRORS = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, httpx.CookieConflict, OSError)
_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.InvalidURL,
    httpx.LocalProtocolError,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
_TRUSTED_TRANSPORTS = (ConnectionPool, httpx.AsyncHTTPTransport, httpx.MockTransport, httpx.ASGITransport)
_UNSPECIFIC = "All connection attempts failed"
"""Message of anyio if a connection was refused or the host could not be reached at any address."""
_AIOHTTP_NOT_SENT = {"ClientConnectorError", "ClientHttpProxyError", "ConnectionTimeoutError", "InvalidURL"}


def _is_aiohttp(exc: BaseException | None) -> bool:
    # By name, because aiohttp may not be installed.
    return type(exc).__module__.partition(".")[0] == "aiohttp"


def is_network_error(exc: Exception) -> bool:
    """Whether an exception reports a network failure and not a bug in a program."""
    # httpx-aiohttp passes some errors of aiohttp through; other transports pass errors of the operating system through.
    return isinstance(exc, _NETWORK_ERRORS) or _is_aiohttp(exc)


def may_quote_credentials(exc: Exception) -> bool:
    """Whether an exception may show credentials, so that it must not be chained as a cause."""
    # h11 quotes a header that it rejects, and some errors of aiohttp show all headers of the request.
    is_quoting = isinstance(exc, httpx.LocalProtocolError) or _is_aiohttp(exc) or _is_response_error(exc.__cause__)
    return is_quoting or any(mask_secrets(text) != text for text in _texts_of(exc))


def _texts_of(exc: BaseException) -> Iterator[str]:
    """Yield the texts of an exception and of all exceptions in its chain, with the URLs of their requests."""
    link: BaseException | None = exc
    while link is not None:
        yield str(link)
        yield repr(vars(link))
        request = vars(link).get("_request")  # the property `request` raises if there is none
        yield str(request.url) if isinstance(request, httpx.Request) else ""
        link = link.__cause__ or link.__context__


def _is_response_error(exc: BaseException | None) -> TypeGuard[_ResponseError]:
    # aiohttp's errors with a status quote the full URL: a proxy's with its password, a request's with its signature.
    return _is_aiohttp(exc) and hasattr(exc, "request_info")


class _ResponseError(Protocol):
    """The part of aiohttp's `ClientResponseError` that is safe to show."""

    status: int
    message: str


def reports_unsent_requests(transport: httpx.AsyncBaseTransport) -> bool:
    """Whether a transport's `httpx.ConnectError` proves that the request was not sent.

    True for our own transport, httpx's transports and httpx-aiohttp's. A subclass or another transport may raise it for
    a request that was sent.
    """
    return type(transport) in _TRUSTED_TRANSPORTS or (
        type(transport).__module__.partition(".")[0] == "httpx_aiohttp"
        and type(transport).__name__ == "AiohttpTransport"
    )


def map_exception(exc: Exception, request_name: str, *, may_be_unsent: bool) -> ClanforgeError:
    """Return the error of this package for a network exception.

    Args:
        exc: The exception of a transport.
        request_name: Method and path of the request, its host and port, and the proxy in use, for the message.
        may_be_unsent: Whether to trust an exception that says that the request was not sent.
    """
    if isinstance(exc, httpx.DecodingError):
        return InvalidResponseError("the response body does not match its Content-Encoding")
    # httpx-aiohttp raises `ConnectTimeout` for every broken connection, even if it broke after the request was sent.
    origin = exc.__cause__ if _is_aiohttp(exc.__cause__) else exc
    sent = not (may_be_unsent and _says_unsent(origin))
    if isinstance(origin, httpx.TimeoutException | TimeoutError):
        missing = "response" if sent else "connection"
        return RequestTimeoutError(f"no {missing} in time: {request_name}", request_sent=sent)
    return TransportError(f"{type(origin).__name__}{_detail(exc, origin)} ({request_name})", request_sent=sent)


def _says_unsent(origin: BaseException | None) -> bool:
    if _is_aiohttp(origin):
        return not _AIOHTTP_NOT_SENT.isdisjoint(cls.__name__ for cls in type(origin).__mro__)
    return isinstance(origin, _NOT_SENT)


def _detail(exc: Exception, origin: BaseException | None) -> str:
    if isinstance(exc, httpx.LocalProtocolError):
        return ""
    detail = f"{origin.status} {origin.message}" if _is_response_error(origin) else str(exc)
    if detail == _UNSPECIFIC:
        detail = _os_error_message(exc) or detail
    return masked_start(f": {detail}", LONGEST_MESSAGE)  # h11 quotes the whole line that it cannot parse


def _os_error_message(exc: BaseException) -> str | None:
    """Return the operating system's message for the exception, or for the first cause that has one."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            return os.strerror(cause.errno)
        # anyio chains an exception group with an error for each address of the host.
        group: Sequence[BaseException] = getattr(cause, "exceptions", ())
        cause = group[0] if group else cause.__cause__ or cause.__context__
    return None
