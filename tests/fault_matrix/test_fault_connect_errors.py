"""Faults before anything is sent: refused connections, unknown hosts and untrusted certificates."""

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
from support.faults.certificate_authorities import CertificateAuthorities, server_ssl_context
from support.faults.fault import Fault, connect_error
from support.faults.faulty_server import Connection, FaultyServer
from support.faults.harness import (
    DIFF,
    STATUS_CALLS,
    VERSION,
    AttemptCounter,
    assert_error,
    call_retry,
    completed_job,
    make_client,
    running_job,
)
from support.faults.misbehaviours import close_on_accept, never_respond
from support.faults.resolver import HOST_NAME, FakeResolver
from support.virtual_time import virtual_time_on_loopback

from clanforge_async import ClanforgeClient, Job, JobState, JobWatcher, RequestTimeoutError

CONNECTION_REFUSED = connect_error("refused", close_on_accept)
UNKNOWN_HOST = connect_error("unknown host", close_on_accept)
UNTRUSTED_CA = connect_error("unknown authority", close_on_accept)
WRONG_HOST_CERTIFICATE = connect_error("certificate of another host", close_on_accept)
PLAINTEXT_SERVER = connect_error("no TLS", close_on_accept)
HANDSHAKE_TIMEOUT = evolve(connect_error("no handshake", never_respond), error=RequestTimeoutError, timeout=0.1)
RECOVERABLE = [CONNECTION_REFUSED, UNKNOWN_HOST, UNTRUSTED_CA, WRONG_HOST_CERTIFICATE]
FAULTS = [*RECOVERABLE, PLAINTEXT_SERVER, HANDSHAKE_TIMEOUT]

each_fault = pytest.mark.parametrize("fault", FAULTS, ids=str)


@frozen
class UnreachableServer:
    """A server that a client cannot connect to.

    Attributes:
        client: The client.
        server: The server.
        ssl_context: TLS context of the server.
        trusted_ca: Authority that the client trusts.
        resolver: Resolver of the client.
    """

    client: ClanforgeClient
    server: FaultyServer
    ssl_context: ssl.SSLContext
    trusted_ca: trustme.CA
    resolver: FakeResolver

    async def recover(self) -> None:
        """Remove the fault that keeps the client from connecting."""
        self.resolver.resolves = True
        self.trusted_ca.issue_cert(HOST_NAME).configure_cert(self.ssl_context)
        await self.server.listen()


@asynccontextmanager
async def unreachable(
    fault: Fault, certificate_authorities: CertificateAuthorities, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> AsyncIterator[UnreachableServer]:
    """Start a server with this fault, and a client that cannot connect to it."""
    resolver = FakeResolver(monkeypatch)
    resolver.resolves = fault is not UNKNOWN_HOST
    authority = certificate_authorities[1 if fault is UNTRUSTED_CA else 0]
    ssl_context = server_ssl_context(authority, "example.org" if fault is WRONG_HOST_CERTIFICATE else HOST_NAME)
    server_ssl, times = (ssl_context, 0) if fault in RECOVERABLE else (None, 2**31)
    async with FaultyServer(fault.misbehaviour, times, completed_job, server_ssl) as server:
        if fault is not CONNECTION_REFUSED:
            await server.listen()
        async with make_client(server, fault, base_url=f"https://{HOST_NAME}:{server.port}", **options) as client:
            yield UnreachableServer(client, server, ssl_context, certificate_authorities[0], resolver)


@each_fault
@virtual_time_on_loopback
async def test_a_call_that_cannot_connect_is_sent_again(
    fault: Fault,
    certificate_authorities: CertificateAuthorities,
    monkeypatch: pytest.MonkeyPatch,
    attempts: AttemptCounter,
) -> None:
    """Every call, including `retry`, is sent again; then the error says that nothing was sent."""
    async with unreachable(fault, certificate_authorities, monkeypatch, max_retries=1) as target:
        for call in (*STATUS_CALLS.values(), call_retry):
            attempts.count = 0
            with pytest.raises(fault.error) as raised:
                await call(target.client)
            assert_error(raised.value, fault)
            assert attempts.count == 2
    assert target.server.paths == []


@each_fault
@virtual_time_on_loopback
async def test_a_watch_ends_after_its_outage_tolerance(
    fault: Fault, certificate_authorities: CertificateAuthorities, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watch keeps polling for `outage_tolerance` and then raises the last error."""
    async with (
        unreachable(fault, certificate_authorities, monkeypatch) as target,
        JobWatcher(target.client, interval=0.01, outage_tolerance=0.03) as watcher,
    ):
        for result in await watcher.wait_all([DIFF, VERSION]):
            assert_error(result.error, fault)
            assert result.polls >= 2


@pytest.mark.parametrize("fault", RECOVERABLE, ids=str)
@virtual_time_on_loopback
async def test_watches_complete_once_the_fault_is_gone(
    fault: Fault,
    certificate_authorities: CertificateAuthorities,
    monkeypatch: pytest.MonkeyPatch,
    attempts: AttemptCounter,
) -> None:
    """Once the fault is gone, watches started before it complete and calls succeed."""
    updates: list[Job] = []
    async with (
        unreachable(fault, certificate_authorities, monkeypatch, max_retries=0) as target,
        JobWatcher(target.client, interval=0.01) as watcher,
    ):
        watch = asyncio.ensure_future(watcher.wait_all([DIFF, VERSION], on_update=updates.append))
        await attempts.wait_until(2)
        with pytest.raises(fault.error):
            await call_retry(target.client)
        assert updates == []
        await target.recover()
        results = await watch
        assert all(result.ok for result in results)
        assert sum(result.polls for result in results) >= 4
        target.server.job = running_job
        assert (await call_retry(target.client)).state is JobState.RUNNING


@pytest.mark.parametrize("transport", [lambda: None, httpx.AsyncHTTPTransport], ids=["default", "httpx"])
@virtual_time_on_loopback
async def test_a_cancelled_handshake_closes_its_connection(
    transport: Callable[[], httpx.AsyncBaseTransport | None],
    certificate_authorities: CertificateAuthorities,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A call cancelled during the TLS handshake closes its socket at once, not at garbage collection."""
    started, closed = asyncio.Event(), asyncio.Event()

    async def hang_in_handshake(connection: Connection) -> bool:
        await connection.read_first_bytes()
        started.set()
        await connection.wait_for_close()
        closed.set()
        return False

    fault = evolve(HANDSHAKE_TIMEOUT, misbehaviour=hang_in_handshake, timeout=10.0)
    async with unreachable(fault, certificate_authorities, monkeypatch, transport=transport()) as target:
        call = asyncio.ensure_future(call_retry(target.client))
        await started.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        del call
        gc.collect()  # an unclosed socket would warn
        await asyncio.wait_for(closed.wait(), 1)
