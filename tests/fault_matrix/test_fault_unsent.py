"""Where no connection is made nothing was sent: refused, no such name, a certificate that is not trusted."""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trustme
from attrs import evolve, frozen
from support.faults.authorities import Authorities, server_context
from support.faults.deeds import closes_at_once, hangs
from support.faults.fault import Fault, unsent
from support.faults.faulty_server import FaultyServer, Visit
from support.faults.harness import DIFF, READS, VERSION, Attempts, ask_for_retry, check, client_of, completed, running
from support.faults.resolver import NAME, Resolver
from support.virtual_time import virtual_time_on_loopback

from clanforge_async import ClanforgeClient, Job, JobState, JobWatcher, RequestTimeoutError

NOBODY_LISTENS = unsent("refused", closes_at_once)
NO_SUCH_NAME = unsent("no such name", closes_at_once)
NOT_TRUSTED = unsent("an authority that nobody knows", closes_at_once)
ANOTHERS_NAME = unsent("another's certificate", closes_at_once)
NO_TLS = unsent("no TLS", closes_at_once)
NO_HANDSHAKE = evolve(unsent("no handshake", hangs), error=RequestTimeoutError, timeout=0.1)
MENDED = [NOBODY_LISTENS, NO_SUCH_NAME, NOT_TRUSTED, ANOTHERS_NAME]
FAULTS = [*MENDED, NO_TLS, NO_HANDSHAKE]

each_fault = pytest.mark.parametrize("fault", FAULTS, ids=str)


@frozen
class Place:
    """A server that a client does not reach.

    Attributes:
        client: The client.
        server: The server.
        tls: What the server shows of itself.
        authority: Whom the client trusts.
        resolver: How the client finds the server.
    """

    client: ClanforgeClient
    server: FaultyServer
    tls: ssl.SSLContext
    authority: trustme.CA
    resolver: Resolver

    async def mend(self) -> None:
        """Put right whatever has kept the client from the server."""
        self.resolver.knows = True
        self.authority.issue_cert(NAME).configure_cert(self.tls)
        await self.server.listen()


@asynccontextmanager
async def unreachable(
    fault: Fault, authorities: Authorities, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> AsyncIterator[Place]:
    """Serve in a way that no connection comes of, and give a client that tries."""
    resolver = Resolver(monkeypatch)
    resolver.knows = fault is not NO_SUCH_NAME
    authority = authorities[1 if fault is NOT_TRUSTED else 0]
    tls = server_context(authority, "example.org" if fault is ANOTHERS_NAME else NAME)
    spoken, times = (tls, 0) if fault in MENDED else (None, 2**31)
    async with FaultyServer(fault.deed, times, completed, spoken) as server:
        if fault is not NOBODY_LISTENS:
            await server.listen()
        async with client_of(server, fault, base_url=f"https://{NAME}:{server.port}", **options) as client:
            yield Place(client, server, tls, authorities[0], resolver)


@each_fault
@virtual_time_on_loopback
async def test_what_was_never_sent_is_tried_again_and_told(
    fault: Fault, authorities: Authorities, monkeypatch: pytest.MonkeyPatch, attempts: Attempts
) -> None:
    """Every call, the retry too, is tried again; then the error says that nothing was sent, and nothing was."""
    async with unreachable(fault, authorities, monkeypatch, max_retries=1) as place:
        for call in (*READS.values(), ask_for_retry):
            attempts.count = 0
            with pytest.raises(fault.error) as raised:
                await call(place.client)
            check(raised.value, fault)
            assert attempts.count == 2
    assert place.server.paths == []


@each_fault
@virtual_time_on_loopback
async def test_a_watch_gives_up_what_it_never_reached(
    fault: Fault, authorities: Authorities, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watch waits for a connection as it waits any outage out, and then raises the error as it last was."""
    async with (
        unreachable(fault, authorities, monkeypatch) as place,
        JobWatcher(place.client, interval=0.01, outage_tolerance=0.03) as watcher,
    ):
        for result in await watcher.wait_all([DIFF, VERSION]):
            check(result.error, fault)
            assert result.polls >= 2


@pytest.mark.parametrize("fault", MENDED, ids=str)
@virtual_time_on_loopback
async def test_what_is_mended_is_reached(
    fault: Fault, authorities: Authorities, monkeypatch: pytest.MonkeyPatch, attempts: Attempts
) -> None:
    """Once somebody listens, is found and is who it should be, watches and calls that were made before end well."""
    told: list[Job] = []
    async with (
        unreachable(fault, authorities, monkeypatch, max_retries=0) as place,
        JobWatcher(place.client, interval=0.01) as watcher,
    ):
        watching = asyncio.ensure_future(watcher.wait_all([DIFF, VERSION], on_update=told.append))
        await attempts.reach(2)
        with pytest.raises(fault.error):
            await ask_for_retry(place.client)
        assert told == []
        await place.mend()
        results = await watching
        assert all(result.ok for result in results)
        assert sum(result.polls for result in results) >= 4
        place.server.job = running
        assert (await ask_for_retry(place.client)).state is JobState.RUNNING


@pytest.mark.parametrize("transport", [lambda: None, httpx.AsyncHTTPTransport], ids=["default", "httpx"])
@virtual_time_on_loopback
async def test_a_handshake_that_is_given_up_closes_its_connection(
    transport: Callable[[], httpx.AsyncBaseTransport | None], authorities: Authorities, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is cancelled while TLS is agreed upon leaves no socket to the collector: the server sees it close."""
    begun, gone = asyncio.Event(), asyncio.Event()

    async def waits(visit: Visit) -> bool:
        await visit.begun()
        begun.set()
        await visit.hang()
        gone.set()
        return False

    fault = evolve(NO_HANDSHAKE, deed=waits, timeout=10.0)
    async with unreachable(fault, authorities, monkeypatch, transport=transport()) as place:
        asking = asyncio.ensure_future(ask_for_retry(place.client))
        await begun.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        del asking
        gc.collect()  # and it would complain
        await asyncio.wait_for(gone.wait(), 1)
