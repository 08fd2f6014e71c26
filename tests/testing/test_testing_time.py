from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from clanforge_async.testing import VirtualClock, VirtualTimeLoop, run, virtual_time


async def test_hours_pass_at_once_in_order() -> None:
    """Time jumps from timer to timer in order."""
    order = list[float]()

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds)
        order.append(seconds)

    with virtual_time() as clock:
        await asyncio.gather(*map(sleep, (7200, 0.1, 86400.0, 3)))
        assert clock.elapsed == 86400
    assert order == [0.1, 3, 7200, 86400]


async def test_time_of_a_loop_never_goes_back() -> None:
    """After the block real time continues from the virtual time, and so does the next block."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    with virtual_time() as first:
        await asyncio.sleep(3600)
    assert start + 3600 <= loop.time() < start + 3700
    await asyncio.sleep(1e-6)
    assert first.elapsed == 3600
    with virtual_time() as second:
        await asyncio.sleep(60)
    assert (first.elapsed, second.elapsed) == (3600, 60)
    assert loop.time() >= start + 3660


async def test_nested_blocks_share_a_clock() -> None:
    """A nested block for the same clock or none changes nothing; another clock raises."""
    with virtual_time() as clock:
        with virtual_time() as same, virtual_time(clock) as again:
            assert same is again is clock
        with pytest.raises(RuntimeError, match="virtual already"), virtual_time(VirtualClock()):
            pass
        await asyncio.sleep(5)
    assert clock.elapsed == 5


async def test_an_unsupported_loop_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop without asyncio's selector raises."""
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: "uvloop's")
    with pytest.raises(RuntimeError, match="none of asyncio's own loops"), virtual_time():
        pass


def test_run_is_asyncio_run_in_virtual_time() -> None:
    """`run` returns the coroutine's result; the loop's time is the clock's."""
    clock = VirtualClock(1000)

    async def main() -> float:
        async with asyncio.timeout(7201):
            await asyncio.sleep(7200)
        return asyncio.get_running_loop().time()

    assert run(main(), clock=clock) == clock.elapsed == 7200
    assert clock() == 8200
    assert repr(clock) == "<VirtualClock after 7200 s>"


def test_a_clock_starts_at_a_whole_second() -> None:
    """A clock starts at the current second, so that results do not depend on its fraction."""
    clock = VirtualClock()
    assert clock() % 1 == 0
    clock.advance(0.5)
    assert clock() % 1 == 0.5


def test_a_clock_can_be_advanced() -> None:
    """Timers that are due after `advance` run next."""

    async def main() -> None:
        sleeping = asyncio.create_task(asyncio.sleep(60))
        await asyncio.sleep(0)
        clock.advance(90)
        await sleeping

    clock = VirtualClock()
    run(main(), clock=clock)
    assert clock.elapsed == 90


def test_the_loop_class_is_a_factory() -> None:
    """A runner takes the class as its loop factory."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(asyncio.sleep(3600))
        assert runner.get_loop().time() == 3600


def test_a_loop_without_timers_waits_for_threads() -> None:
    """Without timers there is no time to jump to, and a thread gets the real time that it needs."""
    assert run(asyncio.to_thread(lambda: "done")) == "done"


def test_a_loop_waits_for_threads_at_its_end() -> None:
    """The shutdown of the executor waits for threads in real time."""

    async def start_thread() -> None:
        asyncio.get_running_loop().run_in_executor(None, threading.Event().wait, 0.05)

    run(start_thread())


def test_a_deadlock_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that would wait for ever fails."""
    monkeypatch.setattr("clanforge_async.testing.loops._DEADLOCK_TIMEOUT", 0.001)
    with pytest.raises(RuntimeError, match="deadlock: nothing is runnable and no timer is pending"):
        run(asyncio.Event().wait())


async def test_open_sockets_are_awaited() -> None:
    """A loop with sockets waits for them for `patience` real seconds before each jump."""
    loop = asyncio.get_running_loop()
    client, server = socket.socketpair()
    with client, server:
        client.setblocking(False)
        with virtual_time(patience=30) as clock:
            answer = asyncio.create_task(loop.sock_recv(client, 10))
            await asyncio.sleep(0)
            threading.Thread(target=server.sendall, args=(b"hello",)).start()
            assert await asyncio.wait_for(answer, timeout=1) == b"hello"
        assert clock.elapsed == 0
