"""A manual clock, and plain HTTP calls to the simulator in process."""

from __future__ import annotations

from typing import Any

import httpx

from clanforge_async.simulator import DEMO_ACCOUNT, Simulator

START = 1_763_769_600.75
"""2025-11-22 00:00:00.75 UTC: not a whole second, like the time of a real clock."""


class FakeClock:
    """A clock that moves only when advanced."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


KEYS = (str(DEMO_ACCOUNT.access_key), str(DEMO_ACCOUNT.secret_key))
ASID = {"accountserviceid": str(DEMO_ACCOUNT.account_service_id)}


def http_client(simulator: Simulator, **options: Any) -> httpx.AsyncClient:
    """Return an HTTP client that calls the simulator in process as the demo account."""
    transport = httpx.ASGITransport(app=simulator.app)
    defaults: dict[str, Any] = {
        "transport": transport,
        "base_url": "http://clanforge.test",
        "auth": KEYS,
        "params": ASID,
    }
    return httpx.AsyncClient(**defaults | options)


async def get(simulator: Simulator, path: str, **options: Any) -> httpx.Response:
    """Send one request, such as ``imagediff/5678/status``."""
    async with http_client(simulator, **options) as http:
        return await http.get(f"/cfp/v1/{path}")


async def job(simulator: Simulator, path: str) -> dict[str, Any]:
    """Send one request, and return the body of the successful response."""
    response = await get(simulator, path)
    body: dict[str, Any] = response.raise_for_status().json()
    return body
