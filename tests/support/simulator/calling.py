"""What the simulator's tests share: a clock that stands still until it is told otherwise, and a caller."""

from __future__ import annotations

from typing import Any

import httpx

from clanforge_async.simulator import DEMO_ACCOUNT, Simulator

START = 1_763_769_600.75
"""2025-11-22 00:00:00.75 UTC: not a whole second, since no clock is kind enough to stand on one."""


class FakeClock:
    """Tells the time that it was given."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


KEYS = (str(DEMO_ACCOUNT.access_key), str(DEMO_ACCOUNT.secret_key))
ASID = {"accountserviceid": str(DEMO_ACCOUNT.account_service_id)}


def caller(simulator: Simulator, **options: Any) -> httpx.AsyncClient:
    """Return a plain client of the simulator, in process, that calls as the demo account."""
    transport = httpx.ASGITransport(app=simulator.app)
    usual: dict[str, Any] = {"transport": transport, "base_url": "http://clanforge.test", "auth": KEYS, "params": ASID}
    return httpx.AsyncClient(**usual | options)


async def get(simulator: Simulator, path: str, **options: Any) -> httpx.Response:
    """Call once, such as ``imagediff/5678/status``."""
    async with caller(simulator, **options) as http:
        return await http.get(f"/cfp/v1/{path}")


async def job(simulator: Simulator, path: str) -> dict[str, Any]:
    """Call once, and return the body of an answer that is to be good."""
    answer = await get(simulator, path)
    body: dict[str, Any] = answer.raise_for_status().json()
    return body
