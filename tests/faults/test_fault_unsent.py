"""Where no connection is made nothing was sent: refused, no such name, a certificate that is not trusted."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trustme
from attrs import evolve
from faults.deeds import closes_at_once, hangs
from faults.fault import Fault, unsent
from faults.faulty_server import FaultyServer
from faults.harness import DIFF, READS, VERSION, Attempts, ask_for_retry, check, client_of, completed, running

from clanforge_async import ClanforgeClient, Job, JobState, JobWatcher, RequestTimeoutError, TransportError

NOBODY_LISTENS = unsent("refused", closes_at_once)
NO_SUCH_NAME = unsent("no such name", closes_at_once)
NOT_TRUSTED = unsent("an authority that nobody knows", closes_at_once)
ANOTHERS_NAME = unsent("another's certificate", closes_at_once)
NO_TLS = unsent("no TLS", closes_at_once)
NO_HANDSHAKE = evolve(unsent("no handshake", hangs), error=RequestTimeoutError, timeout=0.3)
FAULTS = [NOBODY_LISTENS, NO_SUCH_NAME, NOT_TRUSTED, ANOTHERS_NAME, NO_TLS, NO_HANDSHAKE]
TLS = {NOT_TRUSTED.name: (1, "localhost"), ANOTHERS_NAME.name: (0, "example.org")}
HOSTS = {NOBODY_LISTENS.name: "http://127.0.0.1", NO_SUCH_NAME.name: "https://api.clanforge.invalid"}

each_fault = pytest.mark.parametrize("fault", FAULTS, ids=str)


@pytest.fixture(scope="module")
def authorities() -> tuple[trustme.CA, trustme.CA]:
    """Make an authority that the client trusts, and one that nobody knows."""
    return trustme.CA(), trustme.CA()


@pytest.fixture(autouse=True)
def trust(authorities: tuple[trustme.CA, trustme.CA], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with authorities[0].cert_pem.tempfile() as file:
        monkeypatch.setenv("SSL_CERT_FILE", file)
        yield


def context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(made)
    return made


@asynccontextmanager
async def unreachable(
    fault: Fault, authorities: tuple[trustme.CA, trustme.CA], **options: int
) -> AsyncIterator[tuple[ClanforgeClient, FaultyServer]]:
    """Serve in a way that no connection comes of, and give a client that tries."""
    tls = None
    if fault.name in TLS:
        number, name = TLS[fault.name]
        tls = context(authorities[number], name)
    async with FaultyServer(fault.deed, 2**31, completed, tls) as server:
        url = f"{HOSTS.get(fault.name, 'https://localhost')}:{server.port}"
        if fault is not NOBODY_LISTENS:
            await server.listen()
        async with client_of(server, fault, base_url=url, max_retries=1, **options) as client:
            yield client, server


@each_fault
async def test_what_was_never_sent_is_tried_again_and_told(
    fault: Fault, authorities: tuple[trustme.CA, trustme.CA], attempts: Attempts
) -> None:
    """Every call, the retry too, is tried again; then the error says that nothing was sent, and nothing was."""
    async with unreachable(fault, authorities) as (client, server):
        for call in (*READS.values(), ask_for_retry):
            attempts.count = 0
            with pytest.raises(fault.error) as raised:
                await call(client)
            check(raised.value, fault)
            assert attempts.count == 2
    assert server.paths == []


@each_fault
async def test_a_watch_gives_up_what_it_never_reached(
    fault: Fault, authorities: tuple[trustme.CA, trustme.CA], attempts: Attempts
) -> None:
    """A watch waits for a connection as it waits any outage out, and then raises the error as it last was."""
    async with (
        unreachable(fault, authorities) as (client, _),
        JobWatcher(client, interval=0.01, outage_tolerance=0.03) as watcher,
    ):
        with pytest.raises(fault.error) as raised:
            await watcher.wait(DIFF)
        check(raised.value, fault)
        for result in await watcher.wait_all([DIFF, VERSION]):
            check(result.error, fault)
            assert result.polls >= 2
    assert attempts.count >= 6


async def test_who_listens_again_is_reached() -> None:
    """Once somebody listens where nobody did, watches and calls that were made before end well."""
    async with (
        FaultyServer(closes_at_once, 0, completed) as server,
        client_of(server, NOBODY_LISTENS) as client,
        JobWatcher(client, interval=0.01) as watcher,
    ):
        refused: list[Job] = []
        watching = asyncio.ensure_future(watcher.wait_all([DIFF, VERSION], on_update=refused.append))
        with pytest.raises(TransportError):
            await client.image_diffs.retry(5)
        assert refused == []
        await server.listen()
        assert all(result.ok for result in await watching)
        server.job = running
        assert (await client.image_diffs.retry(5)).state is JobState.RUNNING


async def test_a_trusted_certificate_is_accepted(authorities: tuple[trustme.CA, trustme.CA]) -> None:
    """The same server with its own certificate, of an authority that the client trusts, is reached."""
    tls = context(authorities[0], "localhost")
    async with (
        FaultyServer(closes_at_once, 0, running, tls) as server,
        client_of(server, NOT_TRUSTED, base_url=f"https://localhost:{server.port}") as client,
    ):
        await server.listen()
        assert (await client.image_diffs.retry(5)).state is JobState.RUNNING
