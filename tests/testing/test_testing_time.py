from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from clanforge_async.testing import VirtualClock, VirtualTimeLoop, run, virtual_time


async def test_hours_pass_at_once_in_order() -> None:
    """Time jumps from timer to timer, and whatever is due first comes first."""
    order = list[float]()

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds)
        order.append(seconds)

    with virtual_time() as clock:
        await asyncio.gather(*map(sleep, (7200, 0.1, 86400.0, 3)))
        assert clock.elapsed == 86400
    assert order == [0.1, 3, 7200, 86400]


async def test_a_loops_time_never_goes_back() -> None:
    """After the block real time goes on from where virtual time was, and into the next block."""
    loop = asyncio.get_running_loop()
    at = loop.time()
    with virtual_time() as first:
        await asyncio.sleep(3600)
    assert at + 3600 <= loop.time() < at + 3700
    await asyncio.sleep(1e-6)
    assert first.elapsed == 3600
    with virtual_time() as second:
        await asyncio.sleep(60)
    assert (first.elapsed, second.elapsed) == (3600, 60)
    assert loop.time() >= at + 3660


async def test_a_block_within_a_block_changes_nothing() -> None:
    """It is of the same clock, if of any; two clocks cannot both be right."""
    with virtual_time() as clock:
        with virtual_time() as same, virtual_time(clock) as again:
            assert same is again is clock
        with pytest.raises(RuntimeError, match="virtual already"), virtual_time(VirtualClock()):
            pass
        await asyncio.sleep(5)
    assert clock.elapsed == 5


async def test_a_foreign_loop_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that has none of asyncio's selectors cannot be made virtual, and says so."""
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: "uvloop's")
    with pytest.raises(RuntimeError, match="none of asyncio's own loops"), virtual_time():
        pass


def test_a_coroutine_runs_in_virtual_time() -> None:
    """`run` returns what the coroutine does; its loop's time and the server's are the clock's."""
    clock = VirtualClock(1000)

    async def main() -> float:
        async with asyncio.timeout(7201):
            await asyncio.sleep(7200)
        return asyncio.get_running_loop().time()

    assert run(main(), clock=clock) == clock.elapsed == 7200
    assert clock() == 8200
    assert repr(clock) == "<VirtualClock after 7200 s>"


def test_a_clock_starts_now_at_a_whole_second() -> None:
    """Whole seconds of a clock are whole seconds of the server, so that a test comes out the same at any moment."""
    clock = VirtualClock()
    assert clock() % 1 == 0
    clock.advance(0.5)
    assert clock() % 1 == 0.5


def test_a_clock_may_be_moved_by_hand() -> None:
    """What has fallen due when a clock was moved comes next."""

    async def main() -> None:
        sleeping = asyncio.create_task(asyncio.sleep(60))
        await asyncio.sleep(0)
        clock.advance(90)
        await sleeping

    clock = VirtualClock()
    run(main(), clock=clock)
    assert clock.elapsed == 90


def test_a_loop_is_a_factory() -> None:
    """A runner that takes a loop factory can be given the class."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(asyncio.sleep(3600))
        assert runner.get_loop().time() == 3600


def test_a_loop_without_timers_waits_for_threads() -> None:
    """Where nothing is scheduled there is nowhere to jump to, and a thread has the time that it needs."""
    assert run(asyncio.to_thread(lambda: "done")) == "done"


def test_a_thread_may_outlast_its_loop() -> None:
    """Threads keep real time, so the time that they are given in the end is none that can be jumped over."""

    async def leave_a_thread() -> None:
        asyncio.get_running_loop().run_in_executor(None, threading.Event().wait, 0.05)

    run(leave_a_thread())


def test_a_hopeless_wait_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that would hang for ever ends with an error."""
    monkeypatch.setattr("clanforge_async.testing.loops._DEADLOCK_TIMEOUT", 0.001)
    with pytest.raises(RuntimeError, match="deadlock: nothing is runnable and no timer is pending"):
        run(asyncio.Event().wait())


async def test_open_sockets_are_given_time() -> None:
    """Before each jump a loop with sockets waits for them, for as much real time as it is told to."""
    loop = asyncio.get_running_loop()
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        with virtual_time(patience=30) as clock:
            answer = asyncio.create_task(loop.sock_recv(here, 10))
            await asyncio.sleep(0)
            threading.Thread(target=there.sendall, args=(b"hello",)).start()
            assert await asyncio.wait_for(answer, timeout=1) == b"hello"
        assert clock.elapsed == 0
