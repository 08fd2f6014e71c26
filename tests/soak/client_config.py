"""Configuration of the soak's client."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from attrs import frozen
from httpx_aiohttp import AiohttpTransport

from clanforge_async import ClanforgeClient
from clanforge_async.simulator import DEMO_ACCOUNT
from soak.fault_kinds import MAX_RESPONSE_BYTES


def _aiohttp(concurrency: int) -> httpx.AsyncBaseTransport:
    return AiohttpTransport(limits=httpx.Limits(max_connections=concurrency))


TRANSPORTS: dict[str, Callable[[int], httpx.AsyncBaseTransport | None]] = {
    "default": lambda _: None,
    "aiohttp": _aiohttp,
}
"""Factories of transports by name; each takes the maximum concurrency. None stands for the client's default."""


@frozen(kw_only=True)
class ClientConfig:
    """Configuration of the client.

    Attributes:
        max_rate: Maximum requests per second.
        max_concurrency: Maximum concurrent requests.
        transport: A key of `TRANSPORTS`.
    """

    max_rate: float
    max_concurrency: int
    transport: str

    def make_client(self, url: str, timeout: float) -> ClanforgeClient:
        """Return a client of the server at this URL, with a request timeout in seconds."""
        return ClanforgeClient(
            (DEMO_ACCOUNT.access_key, DEMO_ACCOUNT.secret_key),
            account_service_id=DEMO_ACCOUNT.account_service_id,
            base_url=url,
            timeout=timeout,
            max_rate=self.max_rate,
            max_concurrency=self.max_concurrency,
            max_response_bytes=MAX_RESPONSE_BYTES,
            transport=TRANSPORTS[self.transport](self.max_concurrency),
        )
