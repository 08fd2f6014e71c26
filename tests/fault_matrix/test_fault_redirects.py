"""A redirect to another host is told, and that host never hears of it."""

from __future__ import annotations

import pytest
from support.faults.deeds import says
from support.faults.fault import Retried, refusal
from support.faults.faulty_server import FaultyServer
from support.faults.harness import DIFF, READS, VERSION, ask_for_retry, check, client_of, running
from support.loopback_server import LoopbackServer, http_answer
from support.scripted_server import wire

from clanforge_async import APIError, JobWatcher


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(status: int) -> None:
    """Every call raises what names the target, a watch ends, and the target sees neither request nor connection."""
    async with LoopbackServer(lambda _: http_answer(wire(5))) as elsewhere:
        moved = says(http_answer(b"", f"{status} Moved", Location=f"{elsewhere.url}/cfp/v1/x?key=1"))
        fault = refusal("moved", moved, APIError, status)
        assert fault.retried is Retried.REFUSED
        async with (
            FaultyServer(moved, 2**31, running) as server,
            client_of(server, fault) as client,
            JobWatcher(client, interval=0.01) as watcher,
        ):
            await server.listen()
            for call in (*READS.values(), ask_for_retry):
                with pytest.raises(APIError, match=elsewhere.url) as raised:
                    await call(client)
                check(raised.value, fault)
            with pytest.raises(APIError, match=elsewhere.url) as raised:
                await watcher.wait(DIFF)
            check(raised.value, fault)
            for result in await watcher.wait_all([DIFF, VERSION]):
                check(result.error, fault)
        assert len(server.paths) == 6
    assert elsewhere.requests == []
    assert elsewhere.connections == 0
