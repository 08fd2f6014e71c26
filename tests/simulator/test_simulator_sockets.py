from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from support.simulator.calling import ASID, KEYS, FakeClock

from clanforge_async.simulator import Drop, Fault, GatewayError, Latency, Listing, Simulator, Truncate, serve

STATUS = "/cfp/v1/imagediff/1/status"
RETRY = "/cfp/v1/imagediff/1/retry"


def failed_diff() -> Simulator:
    clock = FakeClock()
    simulator = Simulator(clock=clock)
    simulator.add_image_diff(1, duration=10, outcome="failed")
    clock.advance(20)
    return simulator


class Telltale(Fault):
    """No fault: tells of a request that it has arrived, and that it has been acted upon."""

    conclusive = False

    def __init__(self) -> None:
        self.arrived, self.acted = asyncio.Event(), asyncio.Event()

    async def apply(self, request: Any, handler: Any) -> Any:  # noqa: ARG002 - the signature of a fault
        self.arrived.set()
        answer = await handler()
        self.acted.set()
        return answer


@asynccontextmanager
async def calling(simulator: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(simulator) as url, httpx.AsyncClient(base_url=url, auth=KEYS, params=ASID) as http:
        yield http


async def raw(url: str, path: str) -> bytes:
    """Send a request without a client in between, and return all that comes back until the connection closes."""
    parsed = httpx.URL(url)
    reader, writer = await asyncio.open_connection(parsed.host, parsed.port)
    token = "Bearer demo-token"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n".encode())
    try:
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_it_answers_on_a_socket_as_in_process() -> None:
    """A served simulator answers with its own date, and lets connections be used again."""
    async with calling(failed_diff()) as http:
        for _ in range(3):
            answer = await http.get(STATUS)
            assert answer.json()["jobstateid"] == 6
            assert answer.headers.get_list("date") == ["Sat, 22 Nov 2025 00:00:20 GMT"]
            assert "connection" not in answer.headers


async def test_a_dropped_connection_says_nothing() -> None:
    """Not one byte of an answer arrives, and nothing has been done."""
    simulator = failed_diff()
    simulator.faults.add(Drop())
    async with serve(simulator) as url:
        assert await raw(url, RETRY) == b""
    assert simulator.retries_of(1) == 0


async def test_a_connection_may_be_dropped_after_acting() -> None:
    """The retry took place, and its caller has no answer."""
    simulator = failed_diff()
    simulator.faults.add(Drop(after_acting=True), route="image-diff retry", times=1)
    async with calling(simulator) as http:
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            await http.get(RETRY)
        assert (await http.get(STATUS)).json()["jobstateid"] == 1
    assert simulator.retries_of(1) == 1


async def test_a_truncated_body_breaks_off() -> None:
    """Fewer bytes arrive than ``Content-Length`` announces, then the connection closes."""
    simulator = failed_diff()
    simulator.faults.add(Truncate(), times=2)
    async with serve(simulator) as url:
        head, _, body = (await raw(url, STATUS)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        length = next(line for line in head.lower().splitlines() if line.startswith(b"content-length:"))
        assert len(body) == int(length.partition(b":")[2]) // 2
        async with httpx.AsyncClient(base_url=url, auth=KEYS, params=ASID) as http:
            with pytest.raises(httpx.RemoteProtocolError, match="peer closed"):
                await http.get(STATUS)
            assert (await http.get(STATUS)).status_code == 200


async def test_a_client_that_leaves_does_not_undo_its_request() -> None:
    """A retry whose caller gives up waiting is carried out all the same."""
    simulator = failed_diff()
    telltale = Telltale()
    simulator.faults.add(telltale, times=1)
    simulator.faults.add(Latency(60), times=1)
    async with calling(simulator) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.get(RETRY, timeout=0.05)
        await telltale.acted.wait()
        assert (await http.get(STATUS)).json()["jobstateid"] == 1


async def test_serving_ends_at_once() -> None:
    """Neither an idle connection nor a request in flight holds up the end, and none outlives it."""
    simulator = failed_diff()
    loop = asyncio.get_running_loop()
    async with httpx.AsyncClient(auth=KEYS, params=ASID, timeout=60) as http:
        async with serve(simulator) as url:
            await http.get(url + STATUS)
            telltale = Telltale()
            simulator.faults.add(telltale)
            simulator.faults.add(Latency(60))
            waiting = asyncio.create_task(http.get(url + STATUS))
            await telltale.arrived.wait()
            left = loop.time()
        assert loop.time() - left < 1
        assert simulator.requests.in_flight == 0
        with pytest.raises(httpx.RemoteProtocolError):
            await waiting
        with pytest.raises(httpx.ConnectError):
            await http.get(url + STATUS)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_client_that_does_not_read_does_not_hold_up_the_end() -> None:
    """What a client leaves unread is thrown away once it has had a moment."""
    clock = FakeClock()
    simulator = Simulator(clock=clock)
    simulator.add_image_diff(1, duration=10, listing=Listing(added={"maps/quarry.pak": "x" * 20_000_000}))
    clock.advance(20)
    loop = asyncio.get_running_loop()
    async with serve(simulator) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
        writer.write(f"GET {STATUS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer demo-token\r\n\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        left = loop.time()
    assert loop.time() - left < 1
    with suppress(ConnectionError):
        assert len(await reader.read()) < 20_000_000
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def test_serving_ends_with_its_task() -> None:
    """A block that is cancelled closes its server on the way."""
    simulator = failed_diff()
    urls: asyncio.Queue[str] = asyncio.Queue()

    async def run() -> None:
        async with serve(simulator) as url:
            urls.put_nowait(url)
            await asyncio.Event().wait()

    task = asyncio.create_task(run())
    url = await urls.get()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with httpx.AsyncClient() as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(url)


async def test_the_process_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Signals stay the caller's, and nothing is logged by default, whatever goes wrong with requests."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    simulator = failed_diff()
    simulator.faults.add(Drop(), times=1)
    simulator.faults.add(Truncate(), times=1)
    simulator.faults.add(GatewayError(500), times=1)
    async with serve(simulator) as url:
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
        for _ in range(2):
            await raw(url, STATUS)
        async with httpx.AsyncClient(base_url=url) as http:
            assert [(await http.get(STATUS)).status_code for _ in range(2)] == [500, 401]
    assert [record for record in caplog.records if record.levelno >= logging.INFO and record.name != "httpx"] == []


async def test_two_serve_side_by_side() -> None:
    """Free ports are taken from the system, so any number can be served, one simulator twice too."""
    simulator = failed_diff()
    async with serve(simulator) as one, serve(simulator) as two:
        assert one != two
        async with httpx.AsyncClient(auth=KEYS, params=ASID) as http:
            assert [(await http.get(url + STATUS)).status_code for url in (one, two)] == [200, 200]


async def test_a_port_may_be_chosen() -> None:
    """A port that is in use is an ``OSError``, and one that was just served on is free again."""
    async with serve(failed_diff()) as url:
        port = httpx.URL(url).port or 0
        with pytest.raises(OSError, match="in use"):
            async with serve(failed_diff(), port=port):
                pass
    async with serve(failed_diff(), port=port) as again:
        assert again == url


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 loopback here")
async def test_an_ipv6_address_is_bracketed() -> None:
    """The address that is given can be called as it is."""
    async with serve(failed_diff(), host="::1") as url, httpx.AsyncClient(auth=KEYS, params=ASID) as http:
        assert url.startswith("http://[::1]:")
        assert (await http.get(url + STATUS)).status_code == 200
