"""What goes wrong below HTTP, in words of ours: the exceptions of httpx, of other transports, of the system."""

from __future__ import annotations

from typing import Protocol, TypeGuard

import httpx

from clanforge_async._http.request import Call
from clanforge_async.errors import (
    LONGEST_MESSAGE,
    ClanforgeError,
    InvalidResponseError,
    RequestTimeoutError,
    TransportError,
)

_NETWORK = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, httpx.CookieConflict, OSError)
_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.InvalidURL,
    httpx.LocalProtocolError,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
_AIOHTTP_NOT_SENT = {"ClientConnectorError", "ClientHttpProxyError", "ConnectionTimeoutError", "InvalidURL"}


def _is_aiohttp(exc: BaseException | None) -> bool:
    # Known by name, so that nobody has to have it installed.
    return type(exc).__module__.partition(".")[0] == "aiohttp"


def is_of_the_network(exc: Exception) -> bool:
    """Whether an exception tells of the network, and not of a mistake in somebody's code."""
    # httpx-aiohttp lets some of aiohttp's own errors through; other transports leak errors of the operating system.
    return isinstance(exc, _NETWORK) or _is_aiohttp(exc)


def may_quote_credentials(exc: Exception) -> bool:
    """Whether an exception is not fit to be shown, not even as a cause."""
    # h11 quotes a header that it refuses, and some of aiohttp's errors show all headers of their request.
    return isinstance(exc, httpx.LocalProtocolError) or _is_aiohttp(exc) or _knows_an_address(exc.__cause__)


def _knows_an_address(exc: BaseException | None) -> TypeGuard[_Refusal]:
    # aiohttp's errors that know a status quote an address in full: a proxy's with its password, a signed one's with
    # its signature.
    return _is_aiohttp(exc) and hasattr(exc, "request_info")


class _Refusal(Protocol):
    """What aiohttp calls a `ClientResponseError`."""

    status: int
    message: str


def translated(exc: Exception, call: Call) -> ClanforgeError:
    """Return the error of ours that tells what an exception of the network tells."""
    if isinstance(exc, httpx.DecodingError):
        return InvalidResponseError("the answer's body does not decode as its headers say")
    # httpx-aiohttp calls every broken connection a `ConnectTimeout`, also one that broke after the request was sent.
    origin = exc.__cause__ if _is_aiohttp(exc.__cause__) else exc
    if _is_aiohttp(origin):
        sent = _AIOHTTP_NOT_SENT.isdisjoint(cls.__name__ for cls in type(origin).__mro__)
    else:
        sent = not isinstance(origin, _NOT_SENT)
    if isinstance(origin, httpx.TimeoutException | TimeoutError):
        missing = "answer" if sent else "connection"
        return RequestTimeoutError(f"no {missing} in time: GET {call.path}", request_sent=sent)
    return TransportError(f"{type(origin).__name__}{_detail(exc, origin)} (GET {call.path})", request_sent=sent)


def _detail(exc: Exception, origin: BaseException | None) -> str:
    if isinstance(exc, httpx.LocalProtocolError):
        return ""
    said = f"{origin.status} {origin.message}" if _knows_an_address(origin) else str(exc)
    return f": {said}"[:LONGEST_MESSAGE]  # h11 quotes the whole of a line that it cannot read
