"""JSON values of the wrong type in every field: the response is invalid, and the error names the field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve
from support.faults.fault import Fault, invalid_response
from support.faults.harness import DIFF, STATUS_CALLS, VERSION, assert_error, completed_job, faulty_server, running_job
from support.faults.misbehaviours import respond_with
from support.scripted_server import wire
from support.virtual_time import virtual_time_on_loopback

from clanforge_async import JobKind, JobRef, JobState, JobWatcher

ABSENT: Any = object()
NOT_A_TIME: list[Any] = [{}, [], "soon", 1.5, "1.5"]
NOT_A_NUMBER: list[Any] = [*NOT_A_TIME, ""]
NOT_A_STRING: list[Any] = [{}, [], True]
REQUIRED = [ABSENT, None]
INVALID_VALUES: dict[str, list[Any]] = {
    "jobcreated": [*NOT_A_NUMBER, *REQUIRED, True, 10**18],
    "jobupdated": [*NOT_A_NUMBER, *REQUIRED, True, "9" * 30],
    "jobstart": [*NOT_A_TIME, True, 10**18],
    "jobeta": [*NOT_A_TIME, True, 10**18],
    "jobprogress": [*NOT_A_NUMBER, *REQUIRED, True],
    "jobfailed": [*NOT_A_NUMBER, *REQUIRED],
    "jobstateid": [*NOT_A_NUMBER, True],
    "jobstatename": [*NOT_A_STRING, *REQUIRED],
    "joberror": NOT_A_STRING,
}
INVALID_VALUES_BY_KIND: dict[JobKind, dict[str, list[Any]]] = {
    JobKind.IMAGE_DIFF: {
        "diffid": [*NOT_A_NUMBER, *REQUIRED, True, 0, -5],
        **{name: ["x", 5, [1]] for name in ("added", "modified", "removed", "game", "machine", "image")},
    },
    JobKind.IMAGE_VERSION: {"imageversionid": [*NOT_A_NUMBER, *REQUIRED, True, 0, -5], "success": ["maybe", {}, 2]},
}


def fault_with_field(field: str, value: Any) -> Fault:
    body = {name: at for name, at in (wire(5) | {field: value}).items() if at is not ABSENT}
    fault = invalid_response(
        f"{field} {'absent' if value is ABSENT else json.dumps(value)}", respond_with(json.dumps(body).encode())
    )
    return evolve(fault, attributes={"fields": (field,)})


each_invalid_value = pytest.mark.parametrize(
    ("ref", "fault"),
    [
        pytest.param(ref, fault_with_field(field, value), id=f"{ref.kind} {fault_with_field(field, value)}")
        for ref in (DIFF, VERSION)
        for field, values in (INVALID_VALUES | INVALID_VALUES_BY_KIND[ref.kind]).items()
        for value in values
    ],
)


@each_invalid_value
@virtual_time_on_loopback
async def test_an_invalid_field_is_named_in_the_error(ref: JobRef, fault: Fault) -> None:
    """Calls raise an error with the field's name, a watch continues, and a retry reads the status."""
    async with (
        faulty_server(fault, 1, running_job) as (server, client),
        JobWatcher(client, interval=0.001) as watcher,
    ):
        with pytest.raises(fault.error) as raised:
            await STATUS_CALLS[ref.kind.replace("-", " ")](client)
        assert_error(raised.value, fault)
        if ref.kind is JobKind.IMAGE_DIFF:
            await server.misbehave(times=1)
            assert (await client.image_diffs.retry(5)).state is JobState.RUNNING
            assert [path.rpartition("/")[2] for path in server.paths] == ["retry", "status"]
        server.job = completed_job
        await server.misbehave(times=2)
        [result] = await watcher.wait_all([ref])
        assert result.ok
        assert result.polls == 3
