"""The eight calls with a side effect, with a failure at every point: the server never processes a call twice.

`image_diffs.retry` is tested at every point over every kind of transport. The other calls take the same path: only the
points around the server's processing are tested over every transport, the others over the built-in pool.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.faults.exchange_points import BELIEVED, LOOKED_UP, OTHERS, POINTS, RAISED, SENT_AGAIN, Point
from support.faults.faulty_server import Connection, FaultyServer
from support.image_answers import install_wire, options_wire
from support.loopback_server import http_answer
from support.scripted_server import wire
from support.side_effects import BY_NAME, SIDE_EFFECTS, SideEffect

from clanforge_async import ClanforgeClient, ClanforgeError, JobRef, JobState, OutcomeUnknownError

DOCUMENT = Path(__file__).parents[2] / "docs" / "failures.md"
TIMEOUT = httpx.Timeout(0.3)
DECISIVE = {
    "connection refused",
    "dropped after the request, before acting",
    "dropped after acting, before the response",
    "429",
}
"""Points at which every call is tested over every transport."""


class Account:
    """The state on the server: the effect of the call, as later reads show it.

    Args:
        call: The call.
    """

    def __init__(self, call: SideEffect) -> None:
        self.acts = 0
        self._call = call

    def act(self) -> None:
        """Process the call."""
        self.acts += 1

    def __call__(self, head: str) -> dict[str, Any]:
        """Respond to a request that doesn't fail."""
        path = head.split()[1].partition("?")[0]
        if path.endswith(self._call.path):
            self.act()
            return self._call.answer
        if path.endswith("image/options"):
            return options_wire(**self._lock())
        if path.endswith("imageinstall/status"):
            return {"installs": [] if self.acts else [install_wire(31)]}
        if "/6/" in path:
            return wire(6, jobcreated=int(time.time()))
        return wire(5) if self.acts else wire(5, JobState.COMPLETED)

    def _lock(self) -> dict[str, int]:
        if self._call.name.endswith("s.create") and self._call.name != "image_versions.create":
            return {self._call.path.replace("image", "").replace("/create", "id"): 6} if self.acts else {}
        return {} if self.acts else {"diffid": 5}

    def doubt(self) -> tuple[JobRef | None, JobRef | None] | None:
        """Return candidate and lock of the error after the reads; None: they show that the call was processed."""
        diff, created = JobRef.image_diff, bool(self.acts)
        match self._call.name:
            case "image_updates.create":
                return JobRef.image_update(6) if created else None, None
            case "image_diffs.create":
                return diff(6) if created else None, None
            case "image_versions.create" | "image_diffs.reject" if not created:
                return None, diff(5)
            case "image_versions.create" | "images.set_active":
                return None, None
            case _:
                return None if created else (None, None)


class DatedServer(FaultyServer):
    """A server whose correct responses have a ``Date``."""

    def response(self, head: str) -> bytes:
        """Return a correct response with a `Date`."""
        return http_answer(self.job(head), Date=formatdate(usegmt=True))


def cases() -> Iterator[tuple[SideEffect, Point, str]]:
    """Yield each call with the points and transports to test."""
    for call in SIDE_EFFECTS:
        for point in POINTS:
            meets_all = call.name == "image_diffs.retry" or point.name in DECISIVE
            for transport in [*BELIEVED, *OTHERS] if meets_all else ["built-in"]:
                yield call, point, transport


@asynccontextmanager
async def failing(
    call: SideEffect, point: Point, transport: str, **options: Any
) -> AsyncIterator[tuple[ClanforgeClient, FaultyServer, Account]]:
    """Start a server that fails at a point, and yield it with a client and its state."""
    account = Account(call)

    async def misbehaviour(connection: Connection) -> bool:
        return await point.failure(connection, account)

    async with DatedServer(misbehaviour, point.times, account) as server:
        if point.listens:
            await server.listen()
        url = f"{'https' if point.is_tls else 'http'}://127.0.0.1:{server.port}"
        made = (BELIEVED | OTHERS)[transport]()
        timeout = TIMEOUT if "timeout" in point.name else 30.0  # a busy machine may be slow at any other point
        arguments: dict[str, Any] = {"base_url": url, "max_rate": None, "timeout": timeout, "transport": made} | options
        async with ClanforgeClient(("key", "secret"), **arguments) as client:
            yield client, server, account


@pytest.mark.parametrize(("call", "point", "transport"), [*cases()], ids=str)
async def test_a_call_that_fails_acts_once(call: SideEffect, point: Point, transport: str) -> None:
    """Wherever a call fails, the server processes it at most once, and the caller learns what the reads show."""
    handling = point.handling if transport in BELIEVED else point.elsewhere or point.handling
    result: Any
    async with failing(call, point, transport, max_retries=2) as (client, server, account):
        try:
            result = await call.send(client)
        except ClanforgeError as error:
            result = error
    never_connects = not point.listens or point.is_tls
    assert account.acts == (point.acts or (handling is SENT_AGAIN and not never_connects))
    assert server.paths.count(call.path) <= (2 if handling is SENT_AGAIN else 1)
    doubt = ((None, None) if never_connects else account.doubt()) if handling is LOOKED_UP else None
    if doubt is not None:
        assert isinstance(result, OutcomeUnknownError)
        assert (result.call, result.candidate, result.lock) == (call.name, *doubt)
    elif handling is RAISED or never_connects:
        assert isinstance(result, ClanforgeError)
        assert not isinstance(result, OutcomeUnknownError)
    else:
        assert not isinstance(result, ClanforgeError)


@pytest.mark.parametrize("transport", [*BELIEVED, *OTHERS])
@pytest.mark.parametrize("acts", [False, True])
async def test_a_cancelled_call_acts_at_most_once(transport: str, acts: bool) -> None:
    """A call that is cancelled while the server processes it isn't sent again."""
    call = BY_NAME["image_diffs.retry"]
    arrived = asyncio.Event()

    async def hang(connection: Connection, account: Any) -> bool:
        await connection.read_request()
        if acts:
            account.act()
        arrived.set()
        await connection.wait_for_close()
        return False

    point = Point("cancelled", RAISED, hang, acts=acts)
    async with failing(call, point, transport, timeout=10) as (client, server, account):
        task = asyncio.ensure_future(call.send(client))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.05)
    assert server.paths == [call.path]
    assert account.acts == acts


def test_the_table_of_the_guide_is_this_matrix() -> None:
    """The guide has one row per point of failure, in this order, with its handling for both kinds of transport."""
    _, _, section = DOCUMENT.read_text(encoding="utf-8").partition("### Point by point\n")
    rows = [line for line in section.partition("\n#")[0].splitlines() if line.startswith("|")][2:]
    expected = [f"| {point} | {point.handling} | {point.elsewhere or point.handling} |" for point in POINTS]
    assert rows[:-1] == expected
    assert rows[-1] == "| your task is cancelled | raised | raised |"


def test_the_guide_lists_every_call() -> None:
    """For each call with a side effect, the guide names the read that follows if its outcome is unknown."""
    _, _, section = DOCUMENT.read_text(encoding="utf-8").partition("### Call by call\n")
    rows = [line.split("|")[1].strip() for line in section.partition("\n#")[0].splitlines() if line.startswith("|")][2:]
    assert rows == [f"`{call}`" for call in SIDE_EFFECTS]
