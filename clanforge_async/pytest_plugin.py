"""A pytest plugin with fixtures for tests of code that uses this package.

pytest loads it in every project in whose environment the package is installed, so it imports nothing until a fixture
is used.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from clanforge_async import ClanforgeClient
    from clanforge_async.simulator import Simulator
    from clanforge_async.testing import VirtualClock


@pytest.fixture
def clanforge_clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> VirtualClock:
    """A clock that stands still, except during an async test that uses it: then it is the loop's virtual time."""
    from clanforge_async.testing import VirtualClock  # noqa: PLC0415 - only if the fixture is used

    clock = VirtualClock()
    test = getattr(request.node, "obj", None)
    if inspect.iscoroutinefunction(test):
        # Every plugin that runs async tests takes the function from here.
        monkeypatch.setattr(request.node, "obj", _in_virtual_time(test, clock))
    return clock


@pytest.fixture
def clanforge_simulator(clanforge_clock: VirtualClock) -> Simulator:
    """A simulated API without jobs, with the time of `clanforge_clock`."""
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


def _in_virtual_time(
    test: Callable[..., Coroutine[Any, Any, None]], clock: VirtualClock
) -> Callable[..., Coroutine[Any, Any, None]]:
    @functools.wraps(test)
    async def in_virtual_time(*args: Any, **kwargs: Any) -> None:
        from clanforge_async.testing import virtual_time  # noqa: PLC0415

        with virtual_time(clock):
            await test(*args, **kwargs)

    return in_virtual_time
