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


class Probe(Fault):
    """Not a fault: signals that a request has arrived and that it has been processed."""

    conclusive = False

    def __init__(self) -> None:
        self.arrived, self.acted = asyncio.Event(), asyncio.Event()

    async def apply(self, request: Any, handler: Any) -> Any:  # noqa: ARG002 - the signature of a fault
        self.arrived.set()
        response = await handler()
        self.acted.set()
        return response


@asynccontextmanager
async def serving(simulator: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(simulator) as url, httpx.AsyncClient(base_url=url, auth=KEYS, params=ASID) as http:
        yield http


async def raw_request(url: str, path: str) -> bytes:
    """Send a request without an HTTP client, and return all bytes until the connection closes."""
    parsed = httpx.URL(url)
    reader, writer = await asyncio.open_connection(parsed.host, parsed.port)
    token = "Bearer demo-token"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n".encode())
    try:
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_serve_answers_on_a_socket() -> None:
    """A served simulator responds with its own date and keeps connections open."""
    async with serving(failed_diff()) as http:
        for _ in range(3):
            response = await http.get(STATUS)
            assert response.json()["jobstateid"] == 6
            assert response.headers.get_list("date") == ["Sat, 22 Nov 2025 00:00:20 GMT"]
            assert "connection" not in response.headers


async def test_drop_sends_nothing() -> None:
    """A dropped connection closes without a byte of a response, and nothing is processed."""
    simulator = failed_diff()
    simulator.faults.add(Drop())
    async with serve(simulator) as url:
        assert await raw_request(url, RETRY) == b""
    assert simulator.retries_of(1) == 0


async def test_drop_after_acting() -> None:
    """The retry is processed, but the client gets no response."""
    simulator = failed_diff()
    simulator.faults.add(Drop(after_acting=True), route="image-diff retry", times=1)
    async with serving(simulator) as http:
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            await http.get(RETRY)
        assert (await http.get(STATUS)).json()["jobstateid"] == 1
    assert simulator.retries_of(1) == 1


async def test_truncate_sends_half_of_the_body() -> None:
    """The connection closes after fewer bytes than ``Content-Length``."""
    simulator = failed_diff()
    simulator.faults.add(Truncate(), times=2)
    async with serve(simulator) as url:
        head, _, body = (await raw_request(url, STATUS)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        length = next(line for line in head.lower().splitlines() if line.startswith(b"content-length:"))
        assert len(body) == int(length.partition(b":")[2]) // 2
        async with httpx.AsyncClient(base_url=url, auth=KEYS, params=ASID) as http:
            with pytest.raises(httpx.RemoteProtocolError, match="peer closed"):
                await http.get(STATUS)
            assert (await http.get(STATUS)).status_code == 200


async def test_a_request_survives_a_client_timeout() -> None:
    """A retry is processed even if its client stops waiting."""
    simulator = failed_diff()
    probe = Probe()
    simulator.faults.add(probe, times=1)
    simulator.faults.add(Latency(60), times=1)
    async with serving(simulator) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.get(RETRY, timeout=httpx.Timeout(60, read=0.05))
        await probe.acted.wait()
        assert (await http.get(STATUS)).json()["jobstateid"] == 1


async def test_serve_ends_at_once() -> None:
    """Idle connections and requests in flight do not delay the shutdown, and none remains."""
    simulator = failed_diff()
    loop = asyncio.get_running_loop()
    async with httpx.AsyncClient(auth=KEYS, params=ASID, timeout=60) as http:
        async with serve(simulator) as url:
            await http.get(url + STATUS)
            probe = Probe()
            simulator.faults.add(probe)
            simulator.faults.add(Latency(60))
            waiting = asyncio.create_task(http.get(url + STATUS))
            await probe.arrived.wait()
            start = loop.time()
        assert loop.time() - start < 1
        assert simulator.requests.in_flight == 0
        with pytest.raises(httpx.RemoteProtocolError):
            await waiting
        with pytest.raises(httpx.ConnectError):
            await http.get(url + STATUS)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_unread_response_does_not_delay_the_shutdown() -> None:
    """Data that a client does not read in time is discarded."""
    clock = FakeClock()
    simulator = Simulator(clock=clock)
    simulator.add_image_diff(1, duration=10, listing=Listing(added={"maps/quarry.pak": "x" * 20_000_000}))
    clock.advance(20)
    loop = asyncio.get_running_loop()
    async with serve(simulator) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
        writer.write(f"GET {STATUS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer demo-token\r\n\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        start = loop.time()
    assert loop.time() - start < 1
    with suppress(ConnectionError):
        assert len(await reader.read()) < 20_000_000
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def test_cancellation_closes_the_server() -> None:
    """Cancelling the block closes the server."""
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


async def test_serve_changes_no_signals_and_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Signal handlers stay the same, and nothing is logged by default, whatever fails."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    simulator = failed_diff()
    simulator.faults.add(Drop(), times=1)
    simulator.faults.add(Truncate(), times=1)
    simulator.faults.add(GatewayError(500), times=1)
    async with serve(simulator) as url:
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
        for _ in range(2):
            await raw_request(url, STATUS)
        async with httpx.AsyncClient(base_url=url) as http:
            assert [(await http.get(STATUS)).status_code for _ in range(2)] == [500, 401]
    assert [record for record in caplog.records if record.levelno >= logging.INFO and record.name != "httpx"] == []


async def test_two_servers_at_once() -> None:
    """Any number of servers can run at once on free ports, even of one simulator."""
    simulator = failed_diff()
    async with serve(simulator) as one, serve(simulator) as two:
        assert one != two
        async with httpx.AsyncClient(auth=KEYS, params=ASID) as http:
            assert [(await http.get(url + STATUS)).status_code for url in (one, two)] == [200, 200]


async def test_a_given_port() -> None:
    """A port in use raises `OSError`, and a port is free again after serving."""
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
async def test_an_ipv6_address_has_brackets() -> None:
    """The base URL of an IPv6 address is valid."""
    async with serve(failed_diff(), host="::1") as url, httpx.AsyncClient(auth=KEYS, params=ASID) as http:
        assert url.startswith("http://[::1]:")
        assert (await http.get(url + STATUS)).status_code == 200
