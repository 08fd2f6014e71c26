"""The connections of a client that was given none."""

from __future__ import annotations

import asyncio
import urllib.request
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import cast

import httpx

from clanforge_async._http.config import Options, is_loopback
from clanforge_async.errors import ConfigurationError

_KEPT_ALIVE = 55.0
"""Seconds that an idle connection is kept: less than the 60 after which common gateways drop theirs."""

FRESH = "clanforge_async.fresh"
"""The extension of a request that is not to go over a connection that was used before."""

_ONE_CONNECTION = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_KEPT_ALIVE)


class Pool(httpx.AsyncBaseTransport):
    """As many connections as there are requests under way, each in an httpx transport of its own.

    httpcore's pool looks at every connection once for every other with each request: with a hundred of them that takes
    twenty times as long as the request itself. A hundred pools of one connection have nothing to look at.

    Args:
        connection: Makes a transport that holds one connection.
    """

    def __init__(self, connection: Callable[[], httpx.AsyncBaseTransport]) -> None:
        self._new = connection
        self._busy: set[httpx.AsyncBaseTransport] = set()
        self._idle: deque[tuple[float, httpx.AsyncBaseTransport]] = deque()

    @property
    def connections(self) -> list[httpx.AsyncBaseTransport]:
        """All that were opened and are not closed."""
        return [*self._busy, *(connection for _, connection in self._idle)]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request through the connection that was used last, the likeliest to be still alive.

        One that asks for a fresh connection takes the place of an idle one: the server may be about to close that.
        """
        while self._idle and self._idle[0][0] < _now() - _KEPT_ALIVE:
            await self._idle.popleft()[1].aclose()
        connection = await self._fresh() if request.extensions.get(FRESH) else self._latest()
        self._busy.add(connection)
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            self._give_back(connection)
            raise
        stream = cast("httpx.AsyncByteStream", response.stream)
        response.stream = _Borrowed(stream, lambda: self._give_back(connection))
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        for connection in self.connections:
            await connection.aclose()

    def _latest(self) -> httpx.AsyncBaseTransport:
        return self._idle.pop()[1] if self._idle else self._new()

    async def _fresh(self) -> httpx.AsyncBaseTransport:
        if self._idle:
            await self._idle.popleft()[1].aclose()
        return self._new()

    def _give_back(self, connection: httpx.AsyncBaseTransport) -> None:
        self._busy.discard(connection)
        self._idle.append((_now(), connection))


class _Borrowed(httpx.AsyncByteStream):
    """An answer's body, with whose end its connection is given back."""

    def __init__(self, stream: httpx.AsyncByteStream, give_back: Callable[[], None]) -> None:
        self._stream = stream
        self._give_back = give_back

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._stream)

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._give_back()


def make_pool(options: Options) -> Pool:
    """Return a pool for where a client talks to.

    Raises:
        ConfigurationError: The environment names a proxy that cannot be used.
    """
    # Reading the trusted certificates takes a while, and plain http has no use for them.
    context = httpx.create_ssl_context(verify=options.url.scheme == "https")
    try:
        address = _proxy(options.url)
        proxy = None if address is None else httpx.Proxy(address)

        def connection() -> httpx.AsyncHTTPTransport:
            return httpx.AsyncHTTPTransport(verify=context, limits=_ONE_CONNECTION, proxy=proxy)

        connection()  # makes none yet, but would complain of the proxy
    except (ValueError, ImportError, httpx.InvalidURL):
        # Whatever is wrong with it, an address of a proxy can hold a password.
        msg = "the proxy that the environment names is not one that can be used"
        raise ConfigurationError(msg) from None
    return Pool(connection)


def _proxy(base_url: httpx.URL) -> str | None:
    # Whatever the environment says of proxies, this machine itself is not reached through one.
    if is_loopback(base_url.host) or urllib.request.proxy_bypass(base_url.host):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(base_url.scheme) or proxies.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def _now() -> float:
    return asyncio.get_running_loop().time()
