"""JSON of the wrong shape, at every field: the answer is unreadable, and the error names the field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve
from support.faults.deeds import answers
from support.faults.fault import Fault, unreadable
from support.faults.faulty_server import FaultyServer
from support.faults.harness import DIFF, READS, VERSION, check, client_of, completed, running
from support.scripted_server import wire
from support.virtual_time import virtual_time_on_loopback

from clanforge_async import JobKind, JobRef, JobState, JobWatcher

ABSENT: Any = object()
NO_NUMBER: list[Any] = [{}, [], "soon", 1.5, "1.5", ""]
NO_TEXT: list[Any] = [{}, [], True]
REQUIRED = [ABSENT, None]
SHAPES: dict[str, list[Any]] = {
    "jobcreated": [*NO_NUMBER, *REQUIRED, True, 10**18],
    "jobupdated": [*NO_NUMBER, *REQUIRED, True, "9" * 30],
    "jobstart": [*NO_NUMBER, True, 10**18],
    "jobeta": [*NO_NUMBER, True, 10**18],
    "jobprogress": [*NO_NUMBER, *REQUIRED, True],
    "jobfailed": [*NO_NUMBER, *REQUIRED],
    "jobstateid": [*NO_NUMBER, True],
    "jobstatename": [*NO_TEXT, *REQUIRED],
    "joberror": NO_TEXT,
}
OWN_SHAPES: dict[JobKind, dict[str, list[Any]]] = {
    JobKind.IMAGE_DIFF: {
        "diffid": [*NO_NUMBER, *REQUIRED, True, 0, -5],
        **{name: ["x", 5, [1]] for name in ("added", "modified", "removed", "game", "machine", "image")},
    },
    JobKind.IMAGE_VERSION: {"imageversionid": [*NO_NUMBER, *REQUIRED, True, 0, -5], "success": ["maybe", {}, 2]},
}


def misshapen(field: str, value: Any) -> Fault:
    body = {name: at for name, at in (wire(5) | {field: value}).items() if at is not ABSENT}
    fault = unreadable(
        f"{field} {'absent' if value is ABSENT else json.dumps(value)}", answers(json.dumps(body).encode())
    )
    return evolve(fault, attributes={"fields": (field,)})


each_shape = pytest.mark.parametrize(
    ("ref", "fault"),
    [
        pytest.param(ref, misshapen(field, value), id=f"{ref.kind} {misshapen(field, value)}")
        for ref in (DIFF, VERSION)
        for field, values in (SHAPES | OWN_SHAPES[ref.kind]).items()
        for value in values
    ],
)


@each_shape
@virtual_time_on_loopback
async def test_a_misshapen_field_is_named(ref: JobRef, fault: Fault) -> None:
    """Calls and watches end with the field's name, or outlast the answer; a retry reads the status."""
    async with (
        FaultyServer(fault.deed, 1, running) as server,
        client_of(server, fault) as client,
        JobWatcher(client, interval=0.001) as watcher,
    ):
        await server.listen()
        with pytest.raises(fault.error) as raised:
            await READS[ref.kind.replace("-", " ")](client)
        check(raised.value, fault)
        if ref.kind is JobKind.IMAGE_DIFF:
            await server.misbehave(times=1)
            assert (await client.image_diffs.retry(5)).state is JobState.RUNNING
            assert [path.rpartition("/")[2] for path in server.paths] == ["retry", "status"]
        server.job = completed
        await server.misbehave(times=2)
        [result] = await watcher.wait_all([ref])
        assert result.ok
        assert result.polls == 3
