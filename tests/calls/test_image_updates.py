"""``client.image_updates``: create, retry and status."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from support.image_answers import client_of, sent_by, unreachable
from support.scripted_server import START, ScriptedServer, answer, wire
from support.virtual_time import virtual_time

from clanforge_async import (
    BearerTokenAuth,
    ConfigurationError,
    GoogleSource,
    ImageUpdateJob,
    InvalidResponseError,
    JobKind,
    JobRef,
    JobState,
    JobWatcher,
    S3Source,
    SteamSource,
)

UPDATES = "/cfp/v1/imageupdate"


@pytest.mark.parametrize(
    ("description", "sent"),
    [
        ("build 1", "build%201"),
        ('say "hi"', "say%20%22hi%22"),
        ("50% & more/less?", "50%25%20%26%20more%2Fless%3F"),
        ("größer", "gr%C3%B6%C3%9Fer"),
        (" spaces ", "%20spaces%20"),
    ],
)
async def test_create_sends_the_description_exactly(description: str, sent: str) -> None:
    """The description is sent unchanged, encoded once, without quotes around it."""
    path = await sent_by(lambda client: client.image_updates.create(501, 77, description), wire(6))
    assert path == f"{UPDATES}/create?accountserviceid=7&imageid=501&machineid=77&desc={sent}"


@pytest.mark.parametrize(
    ("source", "sent"),
    [
        ("s3://key:my%25secret@bucket/dir/", "s3%3A%2F%2Fkey%3Amy%2525secret%40bucket%2Fdir%2F"),
        ("s3://key:a%2Fb@bucket/", "s3%3A%2F%2Fkey%3Aa%252Fb%40bucket%2F"),
        (S3Source("bucket", "dir", "key", "a/b%c"), "s3%3A%2F%2Fkey%3Aa%252Fb%2525c%40bucket%2Fdir%2F"),
        (SteamSource(90), "steam%3A%2F%2Fanonymous%3A%40install%2F90%2F"),
        (
            GoogleSource("bucket", "dir", {"a": "/"}),
            "gs%3A%2F%2Fbucket%2Fdir%3Fcredentials%3D%257B%2522a%2522%253A%2522%252F%2522%257D",
        ),
    ],
)
async def test_create_encodes_a_source_once_more(
    source: S3Source | SteamSource | GoogleSource | str, sent: str
) -> None:
    """The URL of a source is encoded like any other parameter, including its percent signs."""
    path = await sent_by(
        lambda client: client.image_updates.create(501, 77, "b", source),
        wire(6),
        auth=BearerTokenAuth("token"),
        account_service_id=None,
    )
    assert path == f"{UPDATES}/create?imageid=501&machineid=77&desc=b&url={sent}"


async def test_create_returns_a_new_job() -> None:
    """The job in the response is returned, with the id in the response."""
    async with client_of(httpx.Response(200, json=wire(6, JobState.CREATED))) as client:
        job = await client.image_updates.create(501, 77, "build 1")
    assert isinstance(job, ImageUpdateJob)
    assert (job.update_id, job.state, job.ref) == (6, JobState.CREATED, JobRef.image_update(6))


async def test_a_create_without_an_id_was_done() -> None:
    """Without an id, the update runs but cannot be watched; the error shows the response."""
    body = wire(6)
    del body["updateid"]
    async with client_of(httpx.Response(200, json=body)) as client:
        with pytest.raises(InvalidResponseError, match="updateid missing or malformed") as raised:
            await client.image_updates.create(501, 77, "build 1")
    assert raised.value.fields == ("updateid",)
    assert '"jobcreated"' in raised.value.body


@pytest.mark.parametrize("call", ["status", "retry"])
@pytest.mark.parametrize("body", [wire(5), *({**wire(5), "updateid": value} for value in (None, "5", "", 0, "0"))])
async def test_the_id_is_optional_elsewhere(call: str, body: dict[str, Any]) -> None:
    """A status or retry response without an id, or with the id 0, concerns the requested update."""
    async with client_of(httpx.Response(200, json=body)) as client:
        job = await getattr(client.image_updates, call)(5)
    assert (job.id, job.kind) == (5, JobKind.IMAGE_UPDATE)


async def test_status_and_retry_have_the_id_in_their_paths() -> None:
    """The documented form of the paths is used."""
    assert await sent_by(lambda client: client.image_updates.status(5), wire(5)) == (
        f"{UPDATES}/5/status?accountserviceid=7"
    )
    assert await sent_by(lambda client: client.image_updates.retry(5), wire(5)) == (
        f"{UPDATES}/5/retry?accountserviceid=7"
    )


async def test_a_status_about_another_update_is_invalid() -> None:
    """A status with another id than the requested one is invalid."""
    async with client_of(httpx.Response(200, json=wire(6))) as client:
        with pytest.raises(InvalidResponseError, match="another image-update job") as raised:
            await client.image_updates.status(5)
    assert raised.value.fields == ("updateid",)


@virtual_time
async def test_an_update_is_watched_from_its_retry() -> None:
    """With the reference of a retried update, a watch ignores the end of the previous run."""
    server = ScriptedServer()
    old = wire(5, JobState.FAILED, jobupdated=START - 3600)
    answers = [old, old, wire(5, JobState.COMPLETED, jobupdated=START + 1)]
    server.on("imageupdate/retry", 5, lambda: answer(old))
    server.on("imageupdate/status", 5, lambda: answer(answers.pop(0)))
    async with server.client() as client, JobWatcher(client) as watcher:
        job = await client.image_updates.retry(5)
        assert job.ref == JobRef.image_update(5, datetime.fromtimestamp(START - 3599, UTC))
        assert (await watcher.wait(job)).is_completed
    assert len(server.polls(5, JobKind.IMAGE_UPDATE)) == 3


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((0, 77, "b"), ValueError),
        ((501, -1, "b"), ValueError),
        (("501", 77, "b"), TypeError),
        ((501, 77.0, "b"), TypeError),
        ((501, True, "b"), TypeError),
        ((501, 77, ""), ValueError),
        ((501, 77, " \t"), ValueError),
        ((501, 77, "two\nlines"), ValueError),
        ((501, 77, "nul\0"), ValueError),
        ((501, 77, "\x85"), ValueError),
        ((501, 77, "\ud800"), ValueError),
        ((501, 77, None), TypeError),
        ((501, 77, b"b"), TypeError),
        ((501, 77, "b", ""), ValueError),
        ((501, 77, "b", "s3://k:s@b/\n"), ValueError),
        ((501, 77, "b", 5), TypeError),
    ],
)
async def test_arguments_of_create(arguments: tuple[Any, ...], error: type[Exception]) -> None:
    """Invalid arguments are refused before any request."""
    async with client_of(unreachable) as client:
        with pytest.raises(error):
            await client.image_updates.create(*arguments)


@pytest.mark.parametrize("call", ["status", "retry"])
@pytest.mark.parametrize(("update_id", "error"), [(0, ValueError), (True, TypeError), ("5", TypeError)])
async def test_arguments_of_status_and_retry(call: str, update_id: Any, error: type[Exception]) -> None:
    """An id that is not a positive ``int`` is refused before any request."""
    async with client_of(unreachable) as client:
        with pytest.raises(error, match="update_id"):
            await getattr(client.image_updates, call)(update_id)


async def test_a_description_too_long_for_a_url_is_refused() -> None:
    """Parameters that are too long for a URL are a `ConfigurationError`, also a `ValueError`, before any request."""
    async with client_of(unreachable) as client:
        with pytest.raises(ConfigurationError, match="too long for a URL"):
            await client.image_updates.create(5, 6, "x" * 70_000)
