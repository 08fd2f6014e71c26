from __future__ import annotations

import asyncio
import math
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

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
    """A nested block with the same clock or none has no effect; another clock raises."""
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
    with pytest.raises(RuntimeError, match="needs one of asyncio's own event loops"), virtual_time():
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


DAY = 86400.0
UPTIMES = [194 * DAY, 195 * DAY, 10_000 * DAY, 2.0**40 + 0.3]


@pytest.mark.parametrize("uptime", UPTIMES)
def test_time_passes_on_a_host_that_is_up_for_long(uptime: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """In virtual time, sleeps end whatever the host's uptime, which is the loop's time on Linux."""
    since = time.monotonic()
    real_time = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: uptime + real_time() - since)

    async def main() -> None:
        for _ in range(2):
            with virtual_time() as clock:
                async with asyncio.timeout(61):
                    await asyncio.sleep(60)
                await asyncio.sleep(1e-9)
                assert clock.elapsed == pytest.approx(60, abs=0.001)
            await asyncio.sleep(1e-6)  # in real time

    asyncio.run(main())


@pytest.mark.parametrize("seconds", [1e9, 1e15, 1e300])
def test_time_passes_after_years(seconds: float) -> None:
    """A sleep of any length takes no real time, and short ones after it end too."""
    clock = VirtualClock()

    async def main() -> None:
        await asyncio.sleep(seconds)
        for pause in (5, 0.01, 1e-9):
            await asyncio.sleep(pause)

    began = time.monotonic()
    run(main(), clock=clock)
    assert clock.elapsed == pytest.approx(seconds + 5)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("pause", [1e-9, 1e-10, 5e-324])
def test_short_sleeps_add_up(pause: float) -> None:
    """Sleeps shorter than the resolution of the system's clock take their full time."""
    clock = VirtualClock()

    async def main() -> None:
        for _ in range(100):
            await asyncio.sleep(pause)

    run(main(), clock=clock)
    assert clock.elapsed == pytest.approx(100 * pause)


def test_timers_of_one_moment_all_run_at_it() -> None:
    """Thousands of timers that are due at the same time run without a further jump."""
    clock = VirtualClock()

    async def main() -> set[float]:
        async def sleep() -> float:
            await asyncio.sleep(0.1)
            return clock.elapsed

        return set(await asyncio.gather(*(sleep() for _ in range(5000))))

    assert run(main(), clock=clock) == {0.1}


@pytest.mark.parametrize("start", [0.0, -1e9, 1e18, 253402300799.0])
def test_a_clock_starts_at_any_moment(start: float) -> None:
    """The loop's time does not depend on the date at which its clock starts."""
    clock = VirtualClock(start)
    run(asyncio.sleep(3600.5), clock=clock)
    assert clock.elapsed == 3600.5
    assert clock() == start + 3600.5


async def test_a_used_clock_times_another_loop() -> None:
    """With a clock that has run for ages, a block lasts as long as with a new one, to the clock's precision."""
    clock = VirtualClock()
    clock.advance(1e12)
    with virtual_time(clock):
        async with asyncio.timeout(10):
            for pause in (1e-9, 2, 1e-5):
                await asyncio.sleep(pause)
    assert clock.elapsed - 1e12 == pytest.approx(2, abs=0.01)


@given(
    pauses=st.lists(st.lists(st.floats(1e-6, 1e9), max_size=5), max_size=5),
    before=st.floats(0, 1e12),
)
@example(pauses=[[5.0]], before=2.0**24)
def test_sleeps_end_in_order_and_in_time(pauses: list[list[float]], before: float) -> None:
    """Tasks that sleep repeatedly end in the order of their total times, and the longest sets the time of all."""
    clock = VirtualClock()
    clock.advance(before)
    ends = dict[int, float]()

    async def sleep(task: int) -> None:
        for pause in pauses[task]:
            await asyncio.sleep(pause)
        ends[task] = asyncio.get_running_loop().time()

    async def main() -> None:
        await asyncio.gather(*map(sleep, range(len(pauses))))

    run(main(), clock=clock)
    precision = 10 * math.ulp(clock.elapsed)
    assert ends == pytest.approx({task: before + sum(own) for task, own in enumerate(pauses)}, abs=precision)
    assert list(ends.values()) == sorted(ends.values())
    assert clock.elapsed == max([before, *ends.values()])


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
    """Without timers there is no time to jump to, so a thread gets the real time that it needs."""
    assert run(asyncio.to_thread(lambda: "done")) == "done"


def test_a_loop_waits_for_threads_at_its_end() -> None:
    """The shutdown of the executor waits for threads in real time."""

    async def start_thread() -> None:
        asyncio.get_running_loop().run_in_executor(None, threading.Event().wait, 0.05)

    run(start_thread())


@pytest.mark.parametrize(
    "wait", [lambda: asyncio.Event().wait(), lambda: asyncio.sleep(math.inf)], ids=["event", "sleep"]
)
def test_a_deadlock_raises(wait: Callable[[], Coroutine[Any, Any, object]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that would wait forever fails, even if it sleeps forever."""
    monkeypatch.setattr("clanforge_async.testing.loops._DEADLOCK_TIMEOUT", 0.001)
    with pytest.raises(RuntimeError, match="deadlock: nothing is runnable and no timer is pending"):
        run(wait())


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
