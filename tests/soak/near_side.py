"""The client of a soak."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from attrs import frozen
from httpx_aiohttp import AiohttpTransport

from clanforge_async import ClanforgeClient
from clanforge_async.simulator import DEMO_ACCOUNT
from soak.kinds import LARGEST_BODY


def _aiohttp(concurrency: int) -> httpx.AsyncBaseTransport:
    return AiohttpTransport(limits=httpx.Limits(max_connections=concurrency))


TRANSPORTS: dict[str, Callable[[int], httpx.AsyncBaseTransport | None]] = {
    "default": lambda _: None,
    "aiohttp": _aiohttp,
}
"""What makes a transport for so many requests at a time, by name; none stands for the client's own connections."""


@frozen(kw_only=True)
class NearSide:
    """How the client is made.

    Attributes:
        max_rate: Requests per second.
        max_concurrency: Requests in flight at a time.
        transport: One of `TRANSPORTS`.
    """

    max_rate: float
    max_concurrency: int
    transport: str

    def client(self, url: str, timeout: float) -> ClanforgeClient:
        """Return a client of a server, which gives each request so many seconds."""
        return ClanforgeClient(
            (DEMO_ACCOUNT.access_key, DEMO_ACCOUNT.secret_key),
            account_service_id=DEMO_ACCOUNT.account_service_id,
            base_url=url,
            timeout=timeout,
            max_rate=self.max_rate,
            max_concurrency=self.max_concurrency,
            max_response_bytes=LARGEST_BODY,
            transport=TRANSPORTS[self.transport](self.max_concurrency),
        )
