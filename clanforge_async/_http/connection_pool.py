"""The default connection pool: the transport of a client that gets none from its caller."""

from __future__ import annotations

import asyncio
import os
import ssl
import urllib.request
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import cast

import httpx

from clanforge_async._http.config import ClientConfig, is_loopback
from clanforge_async._http.proxy_bypass import bypasses_proxy
from clanforge_async._http.signing import signs_once
from clanforge_async.errors import ConfigurationError

_KEPT_ALIVE = 55.0
"""Seconds for which an idle connection is kept. Common gateways close it after 60."""

NEW_CONNECTION = "clanforge_async.new_connection"
"""Extension of a request that must not use an existing connection."""

CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Environment variables that name certificates to trust; the first one that is set applies."""

_DEFAULT_PORTS = {"https": 443, "socks5": 1080, "socks5h": 1080}

_ONE_CONNECTION = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_KEPT_ALIVE)


class ConnectionPool(httpx.AsyncBaseTransport):
    """A pool with one connection per request in flight, each in its own httpx transport.

    With each request, httpcore's pool compares all its connections with one another. With a hundred connections, that
    takes twenty times as long as the request itself. A hundred pools of one connection have nothing to compare.

    Args:
        connection: Creates a transport with one connection.
        proxy: Host and port of the proxy that it connects to, for messages; None: no proxy.
    """

    def __init__(self, connection: Callable[[], httpx.AsyncBaseTransport], proxy: str | None = None) -> None:
        self._new = connection
        self.proxy = proxy
        self._busy: set[httpx.AsyncBaseTransport] = set()
        self._idle: deque[tuple[float, httpx.AsyncBaseTransport]] = deque()

    @property
    def connections(self) -> list[httpx.AsyncBaseTransport]:
        """All open connections."""
        return [*self._busy, *(connection for _, connection in self._idle)]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request over the most recently used connection, which is the most likely to be still open.

        A request with `NEW_CONNECTION` replaces an idle connection, since the server may be about to close it.
        """
        while self._idle and self._idle[0][0] < _now() - _KEPT_ALIVE:
            await self._idle.popleft()[1].aclose()
        connection = await self._open_new() if request.extensions.get(NEW_CONNECTION) else self._pop_latest()
        self._busy.add(connection)
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            await self._drop(connection)
            raise
        stream = cast("httpx.AsyncByteStream", response.stream)
        response.stream = _PooledStream(stream, partial(self._release, connection), partial(self._drop, connection))
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        for connection in self.connections:
            await connection.aclose()

    def _pop_latest(self) -> httpx.AsyncBaseTransport:
        return self._idle.pop()[1] if self._idle else self._new()

    async def _open_new(self) -> httpx.AsyncBaseTransport:
        if self._idle:
            await self._idle.popleft()[1].aclose()
        return self._new()

    def _release(self, connection: httpx.AsyncBaseTransport) -> None:
        self._busy.discard(connection)
        self._idle.append((_now(), connection))

    async def _drop(self, connection: httpx.AsyncBaseTransport) -> None:
        # httpcore may have lost a connection whose request was cancelled, so use a new transport.
        self._busy.discard(connection)
        await connection.aclose()


class _PooledStream(httpx.AsyncByteStream):
    """A response body. Its connection returns to the pool if the body was read completely, and is dropped otherwise."""

    def __init__(
        self, stream: httpx.AsyncByteStream, release: Callable[[], None], drop: Callable[[], Awaitable[None]]
    ) -> None:
        self._stream = stream
        self._release = release
        self._drop = drop
        self._is_read = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk
        self._is_read = True

    async def aclose(self) -> None:
        is_reusable = False
        try:
            await self._stream.aclose()
            is_reusable = self._is_read
        finally:
            if is_reusable:
                self._release()
            else:
                await self._drop()


def host_and_port(url: httpx.URL) -> str:
    """Return the host and the port of a URL, without its credentials."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{host}:{url.port or _DEFAULT_PORTS.get(url.scheme, 80)}"


def make_pool(config: ClientConfig) -> ConnectionPool:
    """Return a pool for the client's base URL.

    Raises:
        ConfigurationError: The environment names an invalid proxy.
    """
    context = make_ssl_context(config)
    try:
        proxy_url = find_proxy(config.url)
        proxy = None if proxy_url is None else httpx.Proxy(proxy_url)

        def connection() -> httpx.AsyncHTTPTransport:
            return httpx.AsyncHTTPTransport(verify=context, limits=_ONE_CONNECTION, proxy=proxy)

        connection()  # does not connect yet, but raises if the proxy is invalid
    except (ValueError, ImportError, httpx.InvalidURL):
        # The cause is suppressed: a proxy URL can contain a password.
        msg = "the environment names an invalid proxy"
        raise ConfigurationError(msg) from None
    return ConnectionPool(connection, None if proxy is None else host_and_port(proxy.url))


def make_ssl_context(config: ClientConfig) -> ssl.SSLContext:
    """Return the TLS context of a client's connections.

    Raises:
        ConfigurationError: The trusted certificates cannot be loaded.
    """
    if config.url.scheme == "http" and signs_once(config.auth):
        # Loading the trusted certificates is slow, and no connection uses TLS. This context trusts no certificate.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        variable = next((name for name in CERTIFICATE_VARIABLES if os.environ.get(name)), None)
        source = "the trusted certificates" if variable is None else f"{variable}={os.environ[variable]}"
        msg = f"{source} cannot be loaded: {error.strerror or error}"
        raise ConfigurationError(msg) from error


def find_proxy(base_url: httpx.URL) -> str | None:
    """Return the URL of the proxy for a base URL, from the environment or the system's settings; None: no proxy."""
    if is_loopback(base_url.host) or bypasses_proxy(base_url):  # this machine is never reached through a proxy
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(base_url.scheme) or proxies.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def _now() -> float:
    return asyncio.get_running_loop().time()
