"""`max_rate`: requests are sent as early as the limit allows, and never earlier."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scripted_server import answer, wire
from support.virtual_time import now, run_in_virtual_time, virtual_time

from clanforge_async import ClanforgeClient


class Recorder:
    """Records when each request is sent."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.sent: list[float] = []
        self.seconds = seconds

    async def __call__(self, _request: httpx.Request) -> httpx.Response:
        self.sent.append(now())
        await asyncio.sleep(self.seconds)
        return answer(wire(5))

    def client(self, max_rate: float, max_concurrency: int = 100) -> ClanforgeClient:
        return ClanforgeClient(
            ("k", "s"),
            account_service_id=7,
            transport=httpx.MockTransport(self),
            max_rate=max_rate,
            max_concurrency=max_concurrency,
        )


@pytest.mark.parametrize(
    ("rate", "pause", "allowed_at"),
    [(0.05, 19.0, 20.0), (0.2, 4.9, 5.0), (1.0, 0.9, 1.0), (20.0, 0.04, 0.05), (3.0, 9, 9)],
)
def test_a_request_waits_no_longer_than_it_must(rate: float, pause: float, allowed_at: float) -> None:
    """After a burst, each request is sent as soon as one interval has passed since the last one."""

    @virtual_time
    async def run() -> None:
        server = Recorder()
        async with server.client(rate) as client:
            for _ in range(max(int(rate), 1)):
                await client.image_diffs.status(5)
            await asyncio.sleep(pause)
            await client.image_diffs.status(5)
        assert server.sent[-1] == pytest.approx(allowed_at)

    run()


@given(
    rate=st.floats(0.01, 1000),
    pauses=st.lists(st.one_of(st.just(0.0), st.floats(0, 300)), min_size=1, max_size=30),
)
def test_no_window_holds_more_than_the_rate_allows(rate: float, pauses: list[float]) -> None:
    """In any period, at most one second's worth more is sent than the rate allows, and all requests are sent."""
    server = Recorder()

    async def main() -> None:
        async with server.client(rate) as client:
            calls = []
            for pause in pauses:
                await asyncio.sleep(pause)
                calls.append(asyncio.create_task(client.image_diffs.status(5)))
            await asyncio.gather(*calls)

    run_in_virtual_time(main())
    assert len(server.sent) == len(pauses)
    burst = max(rate, 1.0)
    for first, start in enumerate(server.sent):
        for count, end in enumerate(server.sent[first:], start=1):
            assert count <= burst + (end - start) * rate + 1e-6


@virtual_time
async def test_a_cancelled_wait_takes_nothing_from_the_next() -> None:
    """Calls that are cancelled while they wait for the rate do not delay the calls behind them."""
    server = Recorder()
    async with server.client(0.1) as client:
        await client.image_diffs.status(5)
        waiting = [asyncio.create_task(client.image_diffs.status(5)) for _ in range(50)]
        await asyncio.sleep(3)
        for call in waiting:
            call.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await client.image_diffs.status(5)
    assert server.sent == [0, pytest.approx(10)]
