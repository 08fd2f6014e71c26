"""A single httpcore connection. A pool of one connection would take a quarter of the time of each request."""

from __future__ import annotations

import ssl

import httpcore

_SCHEMES = (b"http", b"https")


class SingleConnection:
    """Sends requests over one connection, one at a time, and opens a new one if the current one is not usable.

    Args:
        ssl_context: The TLS context.
        kept_alive: Seconds for which an idle connection stays usable.
    """

    def __init__(self, ssl_context: ssl.SSLContext, kept_alive: float) -> None:
        self._ssl_context = ssl_context
        self._kept_alive = kept_alive
        self._connection: httpcore.AsyncHTTPConnection | None = None

    @property
    def connections(self) -> list[httpcore.AsyncHTTPConnection]:
        """The current connection in a list, like `connections` of httpcore's pool; empty without one."""
        return [] if self._connection is None else [self._connection]

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send a request.

        Raises:
            httpcore.UnsupportedProtocol: The URL is neither http nor https.
        """
        if request.url.scheme not in _SCHEMES:
            msg = f"the URL has an unsupported protocol: {request.url.scheme.decode()!r}"
            raise httpcore.UnsupportedProtocol(msg)
        origin, connection = request.url.origin, self._connection
        if connection is None or not _is_usable(connection, origin):
            await self.aclose()
            connection = self._connection = httpcore.AsyncHTTPConnection(
                origin, self._ssl_context, keepalive_expiry=self._kept_alive
            )
        return await connection.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.aclose()


def _is_usable(connection: httpcore.AsyncHTTPConnection, origin: httpcore.Origin) -> bool:
    return connection.can_handle_request(origin) and not connection.is_closed() and not connection.has_expired()
