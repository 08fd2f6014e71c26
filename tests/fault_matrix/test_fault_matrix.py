"""Every fault on an established connection with every call: the error raised and the requests sent."""

from __future__ import annotations

import asyncio

import pytest
from support.faults.body_faults import BODY_FAULTS
from support.faults.fault import Fault, RetryHandling
from support.faults.harness import (
    DIFF,
    STATUS_CALLS,
    VERSION,
    AttemptCounter,
    assert_error,
    completed_job,
    faulty_server,
    running_job,
)
from support.faults.network_faults import NETWORK_FAULTS
from support.faults.status_faults import STATUS_FAULTS
from support.virtual_time import virtual_time_on_loopback

from clanforge_async import JobState, JobWatcher, RetryOutcomeUnknownError

RETRY, STATUS = "imagediff/5/retry", "imagediff/5/status"
FAULTS = [*NETWORK_FAULTS, *BODY_FAULTS, *STATUS_FAULTS]

each_fault = pytest.mark.parametrize("fault", FAULTS, ids=str)
each_resent_fault = pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.is_resent], ids=str)
each_fault_with = {
    handling: pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.retry_handling is handling], ids=str)
    for handling in RetryHandling
}
each_permanent_fault = pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.ends_watch], ids=str)
each_transient_fault = pytest.mark.parametrize("fault", [fault for fault in FAULTS if not fault.ends_watch], ids=str)


@each_fault
@virtual_time_on_loopback
async def test_a_status_call_raises_the_error_of_a_fault(fault: Fault, attempts: AttemptCounter) -> None:
    """A status call raises the fault's error after the expected attempts, and the next call succeeds."""
    tries = 2 if fault.is_resent else 1
    async with faulty_server(fault, 0, running_job, max_retries=1) as (server, client):
        for read in STATUS_CALLS.values():
            await server.misbehave(times=tries)
            attempts.count = 0
            with pytest.raises(fault.error) as raised:
                await read(client)
            assert_error(raised.value, fault)
            assert attempts.count == tries
            assert (await read(client)).state is JobState.RUNNING


@each_resent_fault
@virtual_time_on_loopback
async def test_a_status_call_recovers_from_a_transient_fault(fault: Fault, attempts: AttemptCounter) -> None:
    """A transient fault costs a status call one more attempt and raises nothing."""
    async with faulty_server(fault, 0, running_job) as (server, client):
        for read in STATUS_CALLS.values():
            await server.misbehave(times=1)
            attempts.count = 0
            assert (await read(client)).state is JobState.RUNNING
            assert attempts.count == 2


@each_fault_with[RetryHandling.RESENT]
@virtual_time_on_loopback
async def test_an_unprocessed_retry_is_sent_again(fault: Fault) -> None:
    """A retry that the server cannot have processed is sent again; if that fails, the error is raised."""
    async with faulty_server(fault, 2**31, running_job, max_retries=1) as (server, client):
        with pytest.raises(fault.error) as raised:
            await client.image_diffs.retry(5)
    assert_error(raised.value, fault)
    assert server.paths == [RETRY] * 2


@each_fault_with[RetryHandling.STATUS_READ]
@virtual_time_on_loopback
async def test_an_unknown_outcome_is_resolved_by_a_running_job(fault: Fault, attempts: AttemptCounter) -> None:
    """A retry that may have been processed is not sent again: the status is read, and a running job is returned."""
    async with faulty_server(fault, 1, running_job) as (server, client):
        job = await client.image_diffs.retry(5)
    assert job.state is JobState.RUNNING
    assert [path for path in server.paths if path != RETRY] == [STATUS]
    assert server.paths.count(RETRY) <= 1
    assert attempts.count == 2


@each_fault_with[RetryHandling.STATUS_READ]
@virtual_time_on_loopback
async def test_an_unresolved_outcome_is_raised(fault: Fault, attempts: AttemptCounter) -> None:
    """If the status shows the end of the previous run, the outcome is unknown, with the fault as the cause."""
    async with faulty_server(fault, 1, completed_job) as (_, client):
        with pytest.raises(RetryOutcomeUnknownError) as raised:
            await client.image_diffs.retry(5)
    assert raised.value.diff_id == 5
    assert_error(raised.value.__cause__, fault)
    assert attempts.count == 2


@each_fault_with[RetryHandling.RAISED]
@virtual_time_on_loopback
async def test_a_rejected_retry_is_not_sent_again(fault: Fault) -> None:
    """A rejected retry raises its error: nothing is sent again and no status is read."""
    async with faulty_server(fault, 1, running_job) as (server, client):
        with pytest.raises(fault.error) as raised:
            await client.image_diffs.retry(5)
    assert_error(raised.value, fault)
    assert server.paths == [RETRY]


@each_transient_fault
@virtual_time_on_loopback
async def test_a_watch_polls_through_a_transient_fault(fault: Fault, attempts: AttemptCounter) -> None:
    """A watch keeps polling through a transient fault and returns the job."""
    async with (
        faulty_server(fault, 2, completed_job) as (_, client),
        JobWatcher(client, interval=0.01) as watcher,
    ):
        assert (await watcher.wait(VERSION)).is_completed
    assert attempts.count == 3


@each_permanent_fault
@virtual_time_on_loopback
async def test_a_watch_ends_at_a_permanent_fault(fault: Fault, attempts: AttemptCounter) -> None:
    """A permanent fault ends a watch at its first poll."""
    async with (
        faulty_server(fault, 1, completed_job) as (_, client),
        JobWatcher(client, interval=0.01) as watcher,
    ):
        with pytest.raises(fault.error) as raised:
            await watcher.wait(DIFF)
    assert_error(raised.value, fault)
    assert attempts.count == 1


@each_transient_fault
@virtual_time_on_loopback
async def test_many_watches_poll_through_a_transient_fault(fault: Fault) -> None:
    """Watches of several jobs all complete after a transient fault."""
    async with (
        faulty_server(fault, 3, completed_job) as (_, client),
        JobWatcher(client, interval=0.01) as watcher,
    ):
        results = await watcher.wait_all([DIFF, VERSION])
    assert [result.ref for result in results if result.ok] == [DIFF, VERSION]


@each_fault
@virtual_time_on_loopback
async def test_a_persistent_fault_ends_every_watch(fault: Fault) -> None:
    """A persistent fault is raised by `wait`, and is the result of each job in `wait_all`."""
    async with (
        faulty_server(fault, 2**31, completed_job) as (_, client),
        JobWatcher(client, interval=0.01, outage_tolerance=0.03) as watcher,
    ):
        single = asyncio.ensure_future(watcher.wait(DIFF))
        results = await watcher.wait_all([DIFF, VERSION])
        with pytest.raises(fault.error) as raised:
            await single
    assert_error(raised.value, fault)
    assert [result.ref for result in results] == [DIFF, VERSION]
    for result in results:
        assert_error(result.error, fault)
        assert (result.polls == 1) is fault.ends_watch


@each_permanent_fault
@virtual_time_on_loopback
async def test_a_permanent_fault_ends_one_watch_only(fault: Fault) -> None:
    """A permanent fault ends one job's watch; the other job is watched until it ends."""
    async with (
        faulty_server(fault, 1, completed_job) as (_, client),
        JobWatcher(client, interval=0.01) as watcher,
    ):
        results = await watcher.wait_all([DIFF, VERSION])
    [error] = [result.error for result in results if not result.ok]
    assert_error(error, fault)
