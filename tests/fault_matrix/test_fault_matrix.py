"""Every fault that a server can commit once a connection is made, with every call: what is raised, what is repeated."""

from __future__ import annotations

import asyncio

import pytest
from support.faults.body_faults import BODY_FAULTS
from support.faults.fault import Fault, RetryHandling
from support.faults.faulty_server import FaultyServer
from support.faults.harness import (
    DIFF,
    STATUS_CALLS,
    VERSION,
    AttemptCounter,
    assert_error,
    completed_job,
    make_client,
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
async def test_a_status_call_raises_what_goes_wrong(fault: Fault, attempts: AttemptCounter) -> None:
    """A status call ends with the fault's own error, after as many attempts as may help, and the next call is well."""
    tries = 2 if fault.is_resent else 1
    async with (
        FaultyServer(fault.misbehaviour, 0, running_job) as server,
        make_client(server, fault, max_retries=1) as client,
    ):
        await server.listen()
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
async def test_a_status_call_outlives_what_passes(fault: Fault, attempts: AttemptCounter) -> None:
    """A fault that passes costs a status call one more attempt, and its caller nothing."""
    async with FaultyServer(fault.misbehaviour, 0, running_job) as server, make_client(server, fault) as client:
        await server.listen()
        for read in STATUS_CALLS.values():
            await server.misbehave(times=1)
            attempts.count = 0
            assert (await read(client)).state is JobState.RUNNING
            assert attempts.count == 2


@each_fault_with[RetryHandling.RESENT]
@virtual_time_on_loopback
async def test_a_retry_is_sent_again_where_it_was_not_heard(fault: Fault) -> None:
    """What the server has not acted upon is asked for again; where that does not help, nothing is in doubt."""
    async with (
        FaultyServer(fault.misbehaviour, 2**31, running_job) as server,
        make_client(server, fault, max_retries=1) as client,
    ):
        await server.listen()
        with pytest.raises(fault.error) as raised:
            await client.image_diffs.retry(5)
    assert_error(raised.value, fault)
    assert server.paths == [RETRY] * 2


@each_fault_with[RetryHandling.STATUS_READ]
@virtual_time_on_loopback
async def test_a_doubt_is_settled_by_a_run_under_way(fault: Fault, attempts: AttemptCounter) -> None:
    """What may have been acted upon is never sent again: the status is read, and a job that runs is the answer."""
    async with FaultyServer(fault.misbehaviour, 1, running_job) as server, make_client(server, fault) as client:
        await server.listen()
        job = await client.image_diffs.retry(5)
    assert job.state is JobState.RUNNING
    assert [path for path in server.paths if path != RETRY] == [STATUS]
    assert server.paths.count(RETRY) <= 1
    assert attempts.count == 2


@each_fault_with[RetryHandling.STATUS_READ]
@virtual_time_on_loopback
async def test_a_doubt_that_stays_is_said(fault: Fault, attempts: AttemptCounter) -> None:
    """Where the status shows the end of the run before, nobody knows, and the fault is the cause."""
    async with FaultyServer(fault.misbehaviour, 1, completed_job) as server, make_client(server, fault) as client:
        await server.listen()
        with pytest.raises(RetryOutcomeUnknownError) as raised:
            await client.image_diffs.retry(5)
    assert raised.value.diff_id == 5
    assert_error(raised.value.__cause__, fault)
    assert attempts.count == 2


@each_fault_with[RetryHandling.RAISED]
@virtual_time_on_loopback
async def test_a_refused_retry_is_not_asked_for_again(fault: Fault) -> None:
    """A refusal is raised as it is: nothing is sent again and nothing is read."""
    async with FaultyServer(fault.misbehaviour, 1, running_job) as server, make_client(server, fault) as client:
        await server.listen()
        with pytest.raises(fault.error) as raised:
            await client.image_diffs.retry(5)
    assert_error(raised.value, fault)
    assert server.paths == [RETRY]


@each_transient_fault
@virtual_time_on_loopback
async def test_a_watch_waits_a_fault_out(fault: Fault, attempts: AttemptCounter) -> None:
    """A watch polls on until the server is well, and returns the job."""
    async with (
        FaultyServer(fault.misbehaviour, 2, completed_job) as server,
        make_client(server, fault) as client,
        JobWatcher(client, interval=0.01) as watcher,
    ):
        await server.listen()
        assert (await watcher.wait(VERSION)).is_completed
    assert attempts.count == 3


@each_permanent_fault
@virtual_time_on_loopback
async def test_a_watch_ends_at_what_does_not_pass(fault: Fault, attempts: AttemptCounter) -> None:
    """A refusal ends a watch at its first poll."""
    async with (
        FaultyServer(fault.misbehaviour, 1, completed_job) as server,
        make_client(server, fault) as client,
        JobWatcher(client, interval=0.01) as watcher,
    ):
        await server.listen()
        with pytest.raises(fault.error) as raised:
            await watcher.wait(DIFF)
    assert_error(raised.value, fault)
    assert attempts.count == 1


@each_transient_fault
@virtual_time_on_loopback
async def test_many_watches_wait_a_fault_out(fault: Fault) -> None:
    """Watches of several jobs all end well when the server is well again."""
    async with (
        FaultyServer(fault.misbehaviour, 3, completed_job) as server,
        make_client(server, fault) as client,
        JobWatcher(client, interval=0.01) as watcher,
    ):
        await server.listen()
        results = await watcher.wait_all([DIFF, VERSION])
    assert [result.ref for result in results if result.ok] == [DIFF, VERSION]


@each_fault
@virtual_time_on_loopback
async def test_a_fault_without_end_is_told_to_everybody(fault: Fault) -> None:
    """Whoever waits for one job gets it raised, as it last was; it is the result of each of many, and not raised."""
    async with (
        FaultyServer(fault.misbehaviour, 2**31, completed_job) as server,
        make_client(server, fault) as client,
        JobWatcher(client, interval=0.01, outage_tolerance=0.03) as watcher,
    ):
        await server.listen()
        alone = asyncio.ensure_future(watcher.wait(DIFF))
        results = await watcher.wait_all([DIFF, VERSION])
        with pytest.raises(fault.error) as raised:
            await alone
    assert_error(raised.value, fault)
    assert [result.ref for result in results] == [DIFF, VERSION]
    for result in results:
        assert_error(result.error, fault)
        assert (result.polls == 1) is fault.ends_watch


@each_permanent_fault
@virtual_time_on_loopback
async def test_one_refused_watch_leaves_the_others_alone(fault: Fault) -> None:
    """A refusal that met one job is that job's result, and the other is watched to its end."""
    async with (
        FaultyServer(fault.misbehaviour, 1, completed_job) as server,
        make_client(server, fault) as client,
        JobWatcher(client, interval=0.01) as watcher,
    ):
        await server.listen()
        results = await watcher.wait_all([DIFF, VERSION])
    [error] = [result.error for result in results if not result.ok]
    assert_error(error, fault)
