"""``client.image_diffs``: create and reject; see ``test_image_diff_retry`` for the retry."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from support.image_answers import client_of, sent_by, unreachable
from support.scripted_server import wire

from clanforge_async import (
    BearerTokenAuth,
    DiffRejection,
    ImageDiffJob,
    InvalidResponseError,
    JobState,
    OutcomeUnknownError,
    ReinstallJob,
)

DIFFS = "/cfp/v1/imagediff"
TOKEN: dict[str, Any] = {"auth": BearerTokenAuth("token"), "account_service_id": None}


async def test_create_sends_image_and_machine() -> None:
    """Creating a diff is one request, which never is the request of a retry."""
    assert await sent_by(lambda client: client.image_diffs.create(501, 77), wire(6)) == (
        f"{DIFFS}/create?accountserviceid=7&imageid=501&machineid=77"
    )
    assert await sent_by(lambda client: client.image_diffs.create(501, 77), wire(6), **TOKEN) == (
        f"{DIFFS}/create?imageid=501&machineid=77"
    )


async def test_create_returns_a_new_job() -> None:
    """The job in the response is returned; whether any file differs is not known yet."""
    async with client_of(httpx.Response(200, json=wire(6, JobState.CREATED))) as client:
        job = await client.image_diffs.create(501, 77)
    assert isinstance(job, ImageDiffJob)
    assert (job.diff_id, job.state, job.is_empty) == (6, JobState.CREATED, None)


async def test_a_create_without_an_id_was_done() -> None:
    """A valid response without the id is an `InvalidResponseError`: the diff was created."""
    async with client_of(httpx.Response(200, json=wire(6, diffid=None))) as client:
        with pytest.raises(InvalidResponseError) as raised:
            await client.image_diffs.create(501, 77)
    assert raised.value.fields == ("diffid",)


@pytest.mark.parametrize("reinstall", [True, False])
async def test_reject_sends_reinstall_as_a_digit(reinstall: bool) -> None:
    """``reinstall`` is always sent, as 1 or 0; the image is not."""
    path = f"{DIFFS}/5/reject?accountserviceid=7&reinstall={int(reinstall)}"
    assert await sent_by(lambda client: client.image_diffs.reject(5, reinstall=reinstall), {"diffid": 5}) == path
    assert path == await sent_by(
        lambda client: client.image_diffs.reject(5, reinstall=reinstall, image_id=501), {"diffid": 5}
    )


@pytest.mark.parametrize(
    "body", [{"diffid": 5}, {"diffid": "5", "uninstalljobid": None}, {"diffid": 5, "uninstalljobid": 0}]
)
async def test_a_rejection_that_keeps_the_files(body: dict[str, Any]) -> None:
    """Without a reinstall, the response has only the diff's id."""
    async with client_of(httpx.Response(200, json=body)) as client:
        assert await client.image_diffs.reject(5, reinstall=False) == DiffRejection(diff_id=5)


@pytest.mark.parametrize("diff_id", [{}, {"diffid": 5}, {"diffid": None}])
async def test_a_rejection_that_reinstalls(diff_id: dict[str, Any]) -> None:
    """With a reinstall, the response is the job of the reinstall, with or without the diff's id."""
    body = wire(0, JobState.QUEUED) | {"uninstalljobid": 44}
    for name in ("diffid", "updateid", "imageversionid"):
        del body[name]
    async with client_of(httpx.Response(200, json=body | diff_id)) as client:
        rejection = await client.image_diffs.reject(5, reinstall=True)
    assert rejection.diff_id == 5
    assert isinstance(rejection.reinstall, ReinstallJob)
    assert (rejection.reinstall.id, rejection.reinstall.state) == (44, JobState.QUEUED)
    assert not rejection.reinstall.is_terminal


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ("diffid", "uninstalljobid")),
        ({"diffid": 6}, ("diffid",)),
        ({"diffid": True}, ("diffid",)),
        ({"diffid": "open"}, ("diffid",)),
        ({"uninstalljobid": 44}, ("jobcreated", "jobupdated")),
        ({**wire(6), "uninstalljobid": 44}, ("diffid",)),
        ({**wire(5), "uninstalljobid": -1}, ("uninstalljobid",)),
    ],
)
async def test_an_unreadable_rejection_has_an_unknown_outcome(body: dict[str, Any], fields: tuple[str, ...]) -> None:
    """After a response that has neither form, or concerns another diff, the outcome is unknown."""
    async with client_of(httpx.Response(200, json=body)) as client:
        with pytest.raises(OutcomeUnknownError) as raised:
            await client.image_diffs.reject(5, reinstall=True)
    assert isinstance(raised.value.__cause__, InvalidResponseError)
    assert set(fields) <= set(raised.value.__cause__.fields)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [((0, 77), ValueError), ((501, 0), ValueError), (("501", 77), TypeError), ((501, True), TypeError)],
)
async def test_arguments_of_create(arguments: tuple[Any, ...], error: type[Exception]) -> None:
    """Invalid ids are refused before any request."""
    async with client_of(unreachable) as client:
        with pytest.raises(error):
            await client.image_diffs.create(*arguments)


@pytest.mark.parametrize(
    ("diff_id", "options", "error"),
    [
        (0, {"reinstall": True}, ValueError),
        ("5", {"reinstall": True}, TypeError),
        (5, {"reinstall": 1}, TypeError),
        (5, {"reinstall": None}, TypeError),
        (5, {"reinstall": True, "image_id": 0}, ValueError),
        (5, {"reinstall": True, "image_id": "501"}, TypeError),
    ],
)
async def test_arguments_of_reject(diff_id: Any, options: dict[str, Any], error: type[Exception]) -> None:
    """Invalid arguments are refused before any request; 0 and 1 are not flags."""
    async with client_of(unreachable) as client:
        with pytest.raises(error):
            await client.image_diffs.reject(diff_id, **options)


@pytest.mark.parametrize("details", [1, "yes", None])
async def test_details_are_a_flag(details: Any) -> None:
    """``include_details`` is a ``bool``."""
    async with client_of(unreachable) as client:
        with pytest.raises(TypeError, match="include_details"):
            await client.image_diffs.status(5, details)


def diff_of(**fields: Any) -> httpx.Response:
    return httpx.Response(200, json=wire(5, JobState.COMPLETED, **fields))


@pytest.mark.parametrize(
    ("response", "is_empty"),
    [
        (diff_of(), None),
        (diff_of(added=None, modified=None, removed=None), None),
        (diff_of(added={}, modified={}, removed={}), True),
        (diff_of(added=[]), True),
        (diff_of(removed={"a": 1}), False),
        (httpx.Response(200, json=wire(5, added={}, modified={}, removed={})), None),
    ],
)
async def test_an_empty_listing_is_not_an_absent_one(response: httpx.Response, is_empty: bool | None) -> None:
    """A completed diff is empty if the server sends empty listings; without listings, it is not known."""
    async with client_of(response) as client:
        assert (await client.image_diffs.status(5)).is_empty is is_empty


async def test_a_listing_of_200_000_files() -> None:
    """A listing of 200,000 files is read within the default size limit, and no repr of the job shows it."""
    files = {
        f"maps/region-{number // 1000}/tile-{number}.pak": {"size": number, "hash": number} for number in range(200_000)
    }
    async with client_of(diff_of(added=files, modified={}, removed={})) as client:
        job = await client.image_diffs.status(5)
    assert job.is_empty is False
    assert len(job.added) == 200_000
    assert len(repr(job)) < 500
