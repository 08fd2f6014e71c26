"""The monitor of the API: when an outage begins and ends, and what its line promises."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.scripted_server import ScriptedServer
from support.virtual_time import virtual_time

from clanforge_async import (
    ClanforgeClient,
    ClanforgeError,
    InvalidResponseError,
    JobWatcher,
    ServerError,
    TransportError,
)
from clanforge_async._http.request import ApiRequest
from clanforge_async.cli.outages import ApiMonitor, Outage, Recovery
from clanforge_async.cli.output.plain import format_outage


class Recorded:
    """A monitor of a scripted client's requests, and what it reported."""

    def __init__(self, client: ClanforgeClient, **options: Any) -> None:
        self.events: list[Outage | Recovery] = []
        self.monitor = ApiMonitor(client, self.events.append)
        self.monitor.begin_watch(self.events.append, JobWatcher(client, **options))

    def end(self, path: str, error: BaseException | None = None, *, idempotent: bool = True) -> None:
        request: ApiRequest[Any] = ApiRequest(path, lambda _: None, idempotent=idempotent)
        self.monitor.sent(request)
        self.monitor.ended(request, None, error)


@pytest.mark.parametrize(
    ("path", "error", "end"),
    [
        ("/image/options", ServerError("down", status_code=502), "retrying"),
        ("/image/options", InvalidResponseError("html"), "not repeated"),
        ("/imageversion/create", ServerError("down", status_code=502), "not repeated"),
        ("/imageversion/create", TransportError("refused", request_sent=False), "retrying"),
    ],
)
def test_a_call_within_a_release_has_no_tolerance(path: str, error: ClanforgeError, end: str) -> None:
    """A failed call that is no read of a status ends a release: whether it is repeated is told, but no time limit."""

    @virtual_time
    async def run() -> None:
        async with ScriptedServer().client() as client:
            recorded = Recorded(client)
            recorded.end(path, error, idempotent=path.endswith("options"))
            [outage] = recorded.events
            assert isinstance(outage, Outage)
            assert outage.gives_up_at is None
            assert f"; {end}" in format_outage(outage)

    run()


@virtual_time
async def test_without_tolerance_nothing_is_repeated() -> None:
    """With --outage-tolerance 0 the first failure ends a watch, and its line does not promise another try."""
    async with ScriptedServer().client() as client:
        recorded = Recorded(client, outage_tolerance=0.0)
        recorded.end("/imagediff/6/status", ServerError("down", status_code=502))
        [outage] = recorded.events
        assert isinstance(outage, Outage)
        assert format_outage(outage).endswith("; not repeated")


@virtual_time
async def test_a_failed_call_that_nobody_repeats_is_forgotten() -> None:
    """An outage ends with the next response if the call that failed was not repeated for a minute."""
    async with ScriptedServer().client() as client:
        recorded = Recorded(client)
        recorded.end("/imagediff/create", asyncio.CancelledError())
        assert recorded.events == []
        recorded.end("/imagediff/create", ServerError("down", status_code=502))
        assert [type(event) for event in recorded.events] == [Outage]
        recorded.end("/imagediff/6/status")
        assert len(recorded.events) == 1
        await asyncio.sleep(61)
        recorded.end("/imagediff/6/status", ValueError())
        assert len(recorded.events) == 1
        for _ in range(2):
            recorded.end("/imagediff/6/status")
        assert [type(event) for event in recorded.events] == [Outage, Recovery]


@pytest.mark.parametrize(("tolerance", "expected"), [(1e300, None), (1.0, 900.0)])
def test_the_time_to_give_up_allows_for_a_pause(tolerance: float, expected: float | None) -> None:
    """A pause that the server asks for extends the tolerance; a time after the last date is unknown."""

    @virtual_time
    async def run() -> None:
        async with ScriptedServer().client() as client:
            recorded = Recorded(client, outage_tolerance=tolerance)
            recorded.end("/imagediff/6/status", ServerError("down", status_code=503, retry_after=900.0))
            [outage] = recorded.events
            assert isinstance(outage, Outage)
            until = outage.gives_up_at
            assert (None if until is None else round((until - outage.since).total_seconds())) == expected

    run()
