"""States with invalid entries, or entries of another release, can be read, polled with and written again."""

from __future__ import annotations

import asyncio
import copy
import json
import math
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support.scripted_server import START, Answer, ScriptedServer, answer, wire
from support.virtual_time import now, run_in_virtual_time

from clanforge_async import ClanforgeClient, JobRef
from clanforge_async.engine import PollAgain, WatchPolicy, WatchState, poll_once

VALUES = [None, True, 0, -1, -5, 0.5, 10**400, math.nan, math.inf, -math.inf, "", "red", [], {}, [None], {"a": 1}]
REF = JobRef.image_diff(5678)


def entries(plain: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each entry at any depth."""
    pairs = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for key, value in pairs:
        yield (*path, key)
        yield from entries(value, (*path, key))


def replaced(plain: dict[str, Any], path: tuple[Any, ...], value: object) -> dict[str, Any]:
    """Return a copy with another value at a path."""
    changed = copy.deepcopy(plain)
    place: Any = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


def api_of_a_running_diff() -> ScriptedServer:
    """Return an API with an ETA and a progress, some of whose responses have no ``Date``, and some of which fail."""
    api, asked = ScriptedServer(), list[float]()

    def script() -> Answer:
        asked.append(now())
        body = wire(5678, jobeta=START + 100 + 10 * len(asked), jobprogress=min(20 * len(asked), 90))
        return (body, answer(body), httpx.Response(503))[len(asked) % 3]

    api.on("imagediff/status", 5678, script)
    return api


async def states_of(client: ClanforgeClient) -> list[dict[str, Any]]:
    """Return the states of a watch after each poll, as plain data."""
    state, states = WatchState.start(REF, now()), list[dict[str, Any]]()
    for _ in range(8):
        step = await poll_once(client, state, WatchPolicy(), at=now(), clock=now)
        assert isinstance(step, PollAgain)
        state = step.state
        states.append(state.to_dict())
        await asyncio.sleep(step.after)
    return states


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:8])
def test_a_damaged_state_is_polled_with(value: object) -> None:
    """If one entry of a state has any other value, a poll does not raise, and the new state has only valid numbers."""

    count = 0

    async def main() -> None:
        nonlocal count
        async with api_of_a_running_diff().client() as client:
            for plain in (await states_of(client))[::3]:
                for path in entries(plain):
                    if path != ("ref",):
                        state = WatchState.from_dict(replaced(plain, path, value))
                        step = await poll_once(client, state, WatchPolicy(), at=now(), clock=now)
                        json.dumps(step.state.to_dict(), allow_nan=False)
                        count += 1

    run_in_virtual_time(main())
    assert count > 50
