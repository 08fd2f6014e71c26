"""Redirects to another host raise an error and are not followed."""

from __future__ import annotations

import pytest
from support.faults.fault import RetryHandling, api_error
from support.faults.harness import DIFF, STATUS_CALLS, VERSION, assert_error, call_retry, faulty_server, running_job
from support.faults.misbehaviours import send_and_keep_open
from support.loopback_server import LoopbackServer, http_answer
from support.scripted_server import wire

from clanforge_async import APIError, JobWatcher


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(status: int) -> None:
    """Every call and watch raises an error with the target's URL, and the target gets no connection."""
    async with LoopbackServer(lambda _: http_answer(wire(5))) as other_host:
        redirect = send_and_keep_open(http_answer(b"", f"{status} Moved", Location=f"{other_host.url}/cfp/v1/x?key=1"))
        fault = api_error("moved", redirect, APIError, status)
        assert fault.retry_handling is RetryHandling.RAISED
        async with (
            faulty_server(fault, 2**31, running_job) as (server, client),
            JobWatcher(client, interval=0.01) as watcher,
        ):
            for call in (*STATUS_CALLS.values(), call_retry):
                with pytest.raises(APIError, match=other_host.url) as raised:
                    await call(client)
                assert_error(raised.value, fault)
            with pytest.raises(APIError, match=other_host.url) as raised:
                await watcher.wait(DIFF)
            assert_error(raised.value, fault)
            for result in await watcher.wait_all([DIFF, VERSION]):
                assert_error(result.error, fault)
        assert len(server.paths) == 6
    assert other_host.requests == []
    assert other_host.connections == 0
