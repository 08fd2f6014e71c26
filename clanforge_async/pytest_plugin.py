"""A pytest plugin with fixtures for tests of code that uses this package.

pytest loads it in every environment in which the package is installed, so it imports nothing until a fixture is used.
"""

from __future__ import annotations

import functools
import inspect
from contextlib import ExitStack, aclosing
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator

    from clanforge_async import ClanforgeClient
    from clanforge_async.simulator import Simulator
    from clanforge_async.testing import VirtualClock

_CLOCK = pytest.StashKey["tuple[VirtualClock, set[str]]"]()
"""A test's clock, and the names of the fixtures that depend on it."""


@pytest.fixture
def clanforge_clock(request: pytest.FixtureRequest) -> Iterator[VirtualClock]:
    """The clock of the simulated API: virtual time for async tests, real time for sync tests.

    In an async test, it is the event loop's time while the test or an async fixture that depends on it runs; otherwise
    it is stopped. In a sync test, it follows real time, except during ``run(..., clock=clanforge_clock)`` and
    ``virtual_time(clanforge_clock)``.
    """
    import asyncio  # noqa: PLC0415 - only if the fixture is used

    from clanforge_async.testing.clock import RealTimeClock, VirtualClock  # noqa: PLC0415
    from clanforge_async.testing.loops import make_virtual  # noqa: PLC0415

    (owner, name), *around = _attributes_of_test(request)
    test = getattr(owner, name, None)
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        clock = VirtualClock()
        if (loop := asyncio._get_running_loop()) is not None:  # noqa: SLF001 - documented by asyncio despite its name
            # The test requests the fixture while it runs.
            stack.enter_context(make_virtual(loop, clock))
        elif inspect.iscoroutinefunction(test):
            # Every plugin that runs async tests takes the function from here.
            patch.setattr(owner, name, _in_virtual_time(test, clock))
        elif callable(test) and _wraps_async(test):
            patch.setattr(owner, name, _in_virtual_loops(test, clock))
        else:
            clock = RealTimeClock()
        for case, method in around:
            patch.setattr(case, method, _in_virtual_time(getattr(case, method), clock))
        request.node.stash[_CLOCK] = clock, {"clanforge_clock"}
        yield clock


@pytest.fixture
def clanforge_simulator(clanforge_clock: VirtualClock) -> Simulator:
    """A simulated API without jobs, which uses `clanforge_clock`."""
    try:
        from clanforge_async.simulator import Simulator  # noqa: PLC0415 - needs the extra
    except ImportError as error:
        message = str(error)
    else:
        return Simulator(clock=clanforge_clock)
    pytest.fail(message, pytrace=False)


@pytest.fixture
def clanforge_client(clanforge_simulator: Simulator) -> Iterator[ClanforgeClient]:
    """A client that calls `clanforge_simulator` in process."""
    from clanforge_async.testing import run  # noqa: PLC0415 - as above

    client = clanforge_simulator.client()
    yield client
    run(client.aclose())


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Run async fixtures that depend on `clanforge_clock` in virtual time."""
    clock, dependents = request.node.stash.get(_CLOCK, (None, set[str]()))
    if clock is None or dependents.isdisjoint(fixturedef.argnames):
        return (yield)
    dependents.add(fixturedef.argname)
    function: Any = fixturedef.func
    if inspect.ismethod(function) and isinstance(request.instance, type(function.__self__)):
        function = function.__func__.__get__(request.instance)
    with pytest.MonkeyPatch.context() as patch:
        if inspect.iscoroutinefunction(function):
            patch.setattr(fixturedef, "func", _in_virtual_time(function, clock))
        elif inspect.isasyncgenfunction(function):
            patch.setattr(fixturedef, "func", _steps_in_virtual_time(function, clock))
        elif _wraps_async(function):
            patch.setattr(fixturedef, "func", _in_virtual_loops(function, clock))
        return (yield)


def _attributes_of_test(request: pytest.FixtureRequest) -> list[tuple[object, str]]:
    """Return the attributes from which pytest and its plugins take a test's function: its own, then those around it."""
    from unittest import IsolatedAsyncioTestCase  # noqa: PLC0415

    given = getattr(getattr(request.node, "obj", None), "hypothesis", None)
    if given is not None:
        return [(given, "inner_test")]
    case = request.instance
    if isinstance(case, IsolatedAsyncioTestCase):
        return [(case, request.node.name), (case, "asyncSetUp"), (case, "asyncTearDown")]
    return [(request.node, "obj")]


def _wraps_async(function: Callable[..., Any]) -> bool:
    wrapped = inspect.unwrap(function)
    return inspect.iscoroutinefunction(wrapped) or inspect.isasyncgenfunction(wrapped)


def _in_virtual_time(
    function: Callable[..., Coroutine[Any, Any, Any]], clock: VirtualClock
) -> Callable[..., Coroutine[Any, Any, Any]]:
    @functools.wraps(function)
    async def in_virtual_time(*args: Any, **kwargs: Any) -> Any:
        from clanforge_async.testing import virtual_time  # noqa: PLC0415

        with virtual_time(clock):
            return await function(*args, **kwargs)

    return in_virtual_time


def _steps_in_virtual_time(
    function: Callable[..., AsyncGenerator[Any]], clock: VirtualClock
) -> Callable[..., AsyncGenerator[Any]]:
    @functools.wraps(function)
    async def steps_in_virtual_time(*args: Any, **kwargs: Any) -> AsyncGenerator[Any]:
        from clanforge_async.testing import virtual_time  # noqa: PLC0415

        async with aclosing(function(*args, **kwargs)) as steps:
            while True:
                with virtual_time(clock):
                    try:
                        value = await anext(steps)
                    except StopAsyncIteration:
                        return
                yield value

    return steps_in_virtual_time


def _in_virtual_loops(function: Callable[..., Any], clock: VirtualClock) -> Callable[..., Any]:
    """Wrap a function that runs an async one: the event loops that it uses get virtual time."""

    @functools.wraps(function)
    def in_virtual_loops(*args: Any, **kwargs: Any) -> Any:
        import asyncio  # noqa: PLC0415
        import threading  # noqa: PLC0415

        from clanforge_async.testing.loops import make_virtual  # noqa: PLC0415

        thread = threading.get_ident()
        run, shut_down = asyncio.BaseEventLoop.run_until_complete, asyncio.BaseEventLoop.shutdown_default_executor

        def run_in_virtual_time(loop: asyncio.BaseEventLoop, main: Any) -> Any:
            if threading.get_ident() != thread:
                return run(loop, main)
            with make_virtual(loop, clock):
                return run(loop, main)

        async def shut_down_without_timeout(loop: asyncio.BaseEventLoop, _timeout: float | None = None) -> None:
            await shut_down(loop)  # the timeout, new in Python 3.12, would expire: threads use real time

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio.BaseEventLoop, "run_until_complete", run_in_virtual_time)
            patch.setattr(asyncio.BaseEventLoop, "shutdown_default_executor", shut_down_without_timeout)
            return function(*args, **kwargs)

    return in_virtual_loops
