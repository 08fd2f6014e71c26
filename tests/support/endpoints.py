"""Finds the public calls of a client that lack a test, a typing line or a simulator route."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from clanforge_async import ClanforgeClient, ClanforgeError, ImageInstall, JobState
from clanforge_async.refs import EPOCH
from clanforge_async.resources.base import Resource
from clanforge_async.simulator import Simulator

TESTS = Path(__file__).parents[1]
ARGUMENTS: Mapping[str, Any] = {
    "int": 5678,
    "str": "name",
    "bool": True,
    "ImageInstall": ImageInstall(id=5678, state=JobState.CREATED, created_at=EPOCH, updated_at=EPOCH),
}
"""Example arguments by annotation; add one if an endpoint takes another type."""


def endpoints(client: ClanforgeClient) -> Iterator[tuple[str, Any]]:
    """Yield each public method of the client's resources, named as users write it: ``image_diffs.retry``."""
    for resource_name, resource in vars(client).items():
        if isinstance(resource, Resource):
            for name, method in inspect.getmembers(resource, callable):
                if not name.startswith("_"):
                    yield f"{resource_name}.{name}", method


def source_of(*patterns: str) -> str:
    """Return the source of all files below the tests that match a pattern."""
    return "\n".join(path.read_text() for pattern in patterns for path in TESTS.glob(pattern))


async def missing_parts(client: ClanforgeClient, simulator: Simulator) -> list[str]:
    """Return what the calls of a client of a simulator lack, as sentences."""
    tests, typing_lines = source_of("calls/*.py"), source_of("typed/*.py")
    missing: list[str] = []
    for name, method in endpoints(client):
        if f".{name}(" not in tests:
            missing.append(f"{name} has no test in tests/calls")
        if f".{name}(" not in typing_lines:
            missing.append(f"{name} has no line in tests/typed")
        if not await has_route(method, simulator):
            missing.append(f"{name} has no route in the simulator")
    return missing


async def has_route(method: Any, simulator: Simulator) -> bool:
    """Whether the simulator recognises the request of a method; it counts only requests that it has a route for."""
    before = simulator.requests.count()
    parameters = inspect.signature(method).parameters.values()
    arguments = {
        parameter.name: ARGUMENTS[parameter.annotation]
        for parameter in parameters
        if parameter.default is parameter.empty
    }
    with suppress(ClanforgeError):
        await method(**arguments)
    return simulator.requests.count() > before
