"""``client.image_installs``: the list of incomplete installs, and the queue."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from attrs import evolve
from support.image_answers import client_of, install_wire, sent_by, unreachable
from support.scripted_server import START, wire
from support.side_effects import INSTALL

from clanforge_async import (
    BearerTokenAuth,
    ImageInstall,
    InvalidResponseError,
    JobState,
    OutcomeUnknownError,
    QueuedInstall,
)

INSTALLS = "/cfp/v1/imageinstall"


async def listed(*entries: Any) -> list[ImageInstall]:
    async with client_of(httpx.Response(200, json={"installs": list(entries)})) as client:
        return await client.image_installs.list()


async def test_the_list_takes_no_parameters() -> None:
    """The list covers the account; the version is not sent, since the server does not filter."""
    body: dict[str, Any] = {"installs": []}
    assert await sent_by(lambda client: client.image_installs.list(), body) == f"{INSTALLS}/status?accountserviceid=7"
    path = await sent_by(
        lambda client: client.image_installs.list(image_version_id=9),
        body,
        auth=BearerTokenAuth("token"),
        account_service_id=None,
    )
    assert path == f"{INSTALLS}/status"


async def test_an_install_is_parsed() -> None:
    """An entry has the attributes of a job and its own."""
    (install,) = await listed(install_wire(31, mirroring="false", restart="1", target_imageversionid="9012"))
    assert (install.id, install.state, install.image_version_id) == (31, JobState.PENDING, 9012)
    assert (install.mirroring, install.restart, install.location) == (False, True, "Europe")
    assert (install.machine, install.mirror, install.image_path) == ("501-1", None, "/games/12/501")
    assert install.install_at == datetime.fromtimestamp(START, UTC)
    assert not install.is_terminal


async def test_the_list_is_filtered_by_version_here() -> None:
    """Only installs of the version are returned; an install of another image that never ends has no effect."""
    endless = install_wire(30, JobState.RUNNING, target_imageversionid=8000)
    body = {"installs": [endless, install_wire(31), install_wire(32, target_imageversionid=None)]}
    async with client_of(httpx.Response(200, json=body)) as client:
        assert [install.id for install in await client.image_installs.list(image_version_id=9012)] == [31]
        assert await client.image_installs.list(image_version_id=9013) == []
        assert len(await client.image_installs.list()) == 3


async def test_a_duplicate_key_is_accepted() -> None:
    """In the documented example, an entry has ``restart`` twice: the last value is used."""
    entry = json.dumps(install_wire(31, restart=1)).replace("{", '{"restart": 0, "jobid": 30, ', 1)
    text = f'{{"installs": [{entry}]}}'
    async with client_of(httpx.Response(200, text=text)) as client:
        (install,) = await client.image_installs.list()
    assert (install.id, install.restart) == (31, True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mirroring", "perhaps"),
        ("restart", 2),
        ("location", {"region": 1}),
        ("machine", [1]),
        ("mirror", None),
        ("imagepath", None),
        ("install_at", "NOW()"),
        ("target_imageversionid", None),
        ("target_imageversionid", 0),
    ],
)
async def test_a_field_of_undocumented_type_is_none(name: str, value: Any) -> None:
    """A field of an unexpected type is None: no decision depends on it, and the other installs are needed."""
    (install,) = await listed(install_wire(31, **{name: value}))
    attribute = {"imagepath": "image_path", "target_imageversionid": "image_version_id"}.get(name, name)
    assert getattr(install, attribute) is None


async def test_an_entry_may_lack_all_but_its_job() -> None:
    """Only the id and the job's fields are required."""
    (install,) = await listed({"jobid": "31", **wire(31, jobstart=None)})
    moment = datetime.fromtimestamp(START, UTC)
    created = datetime.fromtimestamp(START - 60, UTC)
    assert install == ImageInstall(id=31, state=JobState.RUNNING, created_at=created, updated_at=moment, progress=50)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ("installs",)),
        ({"installs": "none"}, ("installs",)),
        ({"installs": [5]}, ("installs",)),
        ({"installs": {"31": install_wire(31)}}, ("installs",)),
        ({"installs": [install_wire(31), {}]}, ("jobid", "jobcreated", "jobupdated")),
        ({"installs": [install_wire(31, jobid="z"), install_wire(32, jobprogress="half")]}, ("jobid", "jobprogress")),
        ({"installs": [install_wire(31, target_imageversionid="latest")]}, ("target_imageversionid",)),
    ],
)
async def test_a_malformed_list_names_its_fields(body: dict[str, Any], fields: tuple[str, ...]) -> None:
    """A list that cannot be parsed is an error, not an empty list, which would mean that all installs have ended."""
    async with client_of(httpx.Response(200, json=body)) as client:
        with pytest.raises(InvalidResponseError) as raised:
            await client.image_installs.list()
    assert set(fields) <= set(raised.value.fields)


@pytest.mark.parametrize("empty", [[], {}, None])
async def test_an_empty_list(empty: Any) -> None:
    """An empty list may also be sent as a map or as null."""
    async with client_of(httpx.Response(200, json={"installs": empty})) as client:
        assert await client.image_installs.list() == []


# Queue


@pytest.mark.parametrize(("mirroring", "query"), [(True, "&mirroring=true"), (False, "&mirroring=false"), (None, "")])
async def test_queue_sends_mirroring_as_a_word(mirroring: bool | None, query: str) -> None:
    """``mirroring`` is sent as a word, as in the entry; if unknown, it is omitted."""
    install = evolve(INSTALL, mirroring=mirroring)
    path = await sent_by(lambda client: client.image_installs.queue(install), {"machinejobid": 8})
    assert path == f"{INSTALLS}/31/queue?accountserviceid=7{query}"


async def test_a_queued_install_on_a_machine() -> None:
    """On a machine, the response has the machine's job and the number of installs that it replaces."""
    body = {"machinejobid": 8, "installs_squashed": "2", **wire(0, JobState.QUEUED, jobstart=None)}
    async with client_of(httpx.Response(200, json=body)) as client:
        queued = await client.image_installs.queue(INSTALL)
    assert (queued.machine_job_id, queued.mirror_id, queued.id, queued.squashed) == (8, None, 8, 2)
    assert (queued.state, queued.is_terminal, queued.progress) == (JobState.QUEUED, False, 50)


async def test_a_queued_install_on_a_mirror() -> None:
    """On a mirror, the response has the mirror's job."""
    body = {"versionmirrorid": 7, "machinejobid": 0, **wire(0, JobState.RUNNING)}
    async with client_of(httpx.Response(200, json=body)) as client:
        queued = await client.image_installs.queue(INSTALL)
    assert (queued.mirror_id, queued.machine_job_id, queued.id, queued.squashed) == (7, None, 7, None)


async def test_a_queued_install_may_have_only_an_id() -> None:
    """Only an example documents the fields after the id, so only the id is required."""
    async with client_of(httpx.Response(200, json={"machinejobid": 8})) as client:
        assert await client.image_installs.queue(INSTALL) == QueuedInstall(machine_job_id=8)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"success": True}, ("versionmirrorid", "machinejobid")),
        ({"machinejobid": 0, "versionmirrorid": ""}, ("versionmirrorid", "machinejobid")),
        ({"machinejobid": -8}, ("machinejobid",)),
        ({"machinejobid": 8, "installs_squashed": "many", "jobeta": "soon"}, ("installs_squashed", "jobeta")),
    ],
)
async def test_an_unreadable_response_to_queue_is_resolved_by_the_list(
    body: dict[str, Any], fields: tuple[str, ...]
) -> None:
    """Without a valid response, the list decides; if it cannot be read either, the outcome is unknown."""

    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=body) if request.url.path.endswith("queue") else httpx.Response(403)

    async with client_of(handle) as client:
        with pytest.raises(OutcomeUnknownError) as raised:
            await client.image_installs.queue(INSTALL)
    assert isinstance(raised.value.__cause__, InvalidResponseError)
    assert set(raised.value.__cause__.fields) == set(fields)


@pytest.mark.parametrize("install", [31, None, {"jobid": 31}, QueuedInstall(machine_job_id=31)])
async def test_queue_takes_an_install(install: Any) -> None:
    """Anything but an install from the list is refused before any request."""
    async with client_of(unreachable) as client:
        with pytest.raises(TypeError, match="must be an ImageInstall"):
            await client.image_installs.queue(install)
    async with client_of(unreachable) as client:
        with pytest.raises(ValueError, match="positive"):
            await client.image_installs.queue(evolve(INSTALL, id=0))


@pytest.mark.parametrize(("version", "error"), [(0, ValueError), ("9", TypeError), (True, TypeError)])
async def test_arguments_of_list(version: Any, error: type[Exception]) -> None:
    """An invalid version is refused before any request."""
    async with client_of(unreachable) as client:
        with pytest.raises(error, match="image_version_id"):
            await client.image_installs.list(image_version_id=version)
