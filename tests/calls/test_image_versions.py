"""``client.image_versions.create``, which accepts a diff."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx
import pytest
from support.image_answers import client_of, options_wire, sent_by, unreachable
from support.scripted_server import START, ScriptedServer, answer, wire
from support.virtual_time import virtual_time

from clanforge_async import (
    BearerTokenAuth,
    ImageVersionJob,
    InvalidResponseError,
    JobState,
    PermissionDeniedError,
    StragglerPolicy,
)

CREATE = "/cfp/v1/imageversion/create?accountserviceid=7&diffid=5"
NOON = datetime(2025, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("options", "query"),
    [
        ({}, "&restart=0&install_at=NOW%28%29"),
        ({"restart": True}, "&restart=1&install_at=NOW%28%29"),
        ({"full": True, "force": True}, "&restart=0&full=1&force=1&install_at=NOW%28%29"),
        ({"game_build": "1.2 beta"}, "&restart=0&game_build=1.2%20beta&install_at=NOW%28%29"),
        ({"install_at": None}, "&restart=0"),
        ({"install_at": NOON}, f"&restart=0&install_at={START + 43200}"),
        ({"install_at": NOON + timedelta(microseconds=999999)}, f"&restart=0&install_at={START + 43200}"),
        (
            {"install_at": NOON.astimezone(timezone(timedelta(hours=9)))},
            f"&restart=0&install_at={START + 43200}",
        ),
        (
            {"straggler_policy": StragglerPolicy(minutes=90, percentage=95.0), "install_at": None},
            "&restart=0&disable_timeout=90&disable_percentage=95.00",
        ),
        ({"image_id": 501, "install_at": None}, "&restart=0"),
    ],
)
async def test_create_sends_exactly(options: dict[str, Any], query: str) -> None:
    """Each argument is sent as documented, flags as digits; omitted arguments and the image are not sent."""
    arguments = {"restart": False} | options
    assert await sent_by(lambda client: client.image_versions.create(5, **arguments), wire(9)) == CREATE + query


async def test_create_returns_a_new_job() -> None:
    """The job in the response is returned."""
    async with client_of(httpx.Response(200, json=wire(9, JobState.CREATED))) as client:
        job = await client.image_versions.create(5, restart=True)
    assert isinstance(job, ImageVersionJob)
    assert (job.image_version_id, job.state, job.success) == (9, JobState.CREATED, True)


async def test_a_create_without_an_id_was_done() -> None:
    """A valid response without the id is an `InvalidResponseError`: a version was created."""
    async with client_of(httpx.Response(200, json=wire(9, imageversionid=""))) as client:
        with pytest.raises(InvalidResponseError) as raised:
            await client.image_versions.create(5, restart=True)
    assert raised.value.fields == ("imageversionid",)


def token_client(server: ScriptedServer) -> Any:
    return server.client(auth=BearerTokenAuth("token"), account_service_id=None)


@pytest.mark.parametrize("skew", [-86400, 0, 86400])
def test_with_a_token_now_is_the_servers_second(skew: int) -> None:
    """The host that accepts tokens documents a number: the server's current second, known after one read."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        date = datetime.fromtimestamp(START + 10 + skew, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        server.on("image/options", 0, lambda: answer(options_wire(), Date=date))
        server.on("imageversion/create", 0, lambda: httpx.Response(200, json=wire(9)))
        async with token_client(server) as client:
            await client.image_versions.create(5, restart=False)
            await client.image_versions.create(5, restart=False)
        assert [request.url.path for request in server.requests] == [
            "/cfp/v1/image/options",
            "/cfp/v1/imageversion/create",
            "/cfp/v1/imageversion/create",
        ]
        assert [request.url.query.decode() for request in server.requests][1:] == [
            f"diffid=5&restart=0&install_at={START + 10 + skew}"
        ] * 2

    run()


@virtual_time
async def test_the_servers_clock_advances_between_responses() -> None:
    """A response to any call shows the server's clock, which then advances with the loop's clock; no read is needed."""

    server = ScriptedServer()
    server.version(9, answer(wire(9)))
    server.on("imageversion/create", 0, lambda: answer(wire(10)))
    async with token_client(server) as client:
        await client.image_versions.status(9)
        await asyncio.sleep(100)
        await client.image_versions.create(5, restart=False)
    assert server.requests[-1].url.params["install_at"] == str(START + 100)
    assert len(server.requests) == 2


@virtual_time
async def test_without_a_date_now_is_the_local_second() -> None:
    """If no response has a `Date`, the local clock is used."""
    server = ScriptedServer()
    server.on("image/options", 0, lambda: httpx.Response(200, json=options_wire()))
    server.on("imageversion/create", 0, lambda: httpx.Response(200, json=wire(9)))
    before = int(time.time())
    async with token_client(server) as client:
        await client.image_versions.create(5, restart=False)
    assert before <= int(server.requests[-1].url.params["install_at"]) <= time.time()


@virtual_time
async def test_an_error_of_the_read_before_is_raised() -> None:
    """If the read of the server's time fails, the version is not created."""
    server = ScriptedServer()
    server.on("image/options", 0, lambda: httpx.Response(403))
    async with token_client(server) as client:
        with pytest.raises(PermissionDeniedError):
            await client.image_versions.create(5, restart=False)
    assert server.asked.keys() == {("image/options", 0)}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"diff_id": 0}, ValueError),
        ({"diff_id": "5"}, TypeError),
        ({"restart": 1}, TypeError),
        ({"full": 1}, TypeError),
        ({"force": "1"}, TypeError),
        ({"game_build": ""}, ValueError),
        ({"game_build": "a\tb"}, ValueError),
        ({"game_build": 5}, TypeError),
        ({"image_id": 0}, ValueError),
        ({"install_at": "NOW()"}, ValueError),
        ({"install_at": NOON.replace(tzinfo=None)}, ValueError),
        ({"install_at": 1763769600}, TypeError),
        ({"install_at": NOON.date()}, TypeError),
        ({"straggler_policy": (90, 95.0)}, TypeError),
    ],
)
@pytest.mark.parametrize("auth", [("key", "secret"), BearerTokenAuth("token")], ids=["basic", "bearer"])
async def test_arguments_of_create(options: dict[str, Any], error: type[Exception], auth: Any) -> None:
    """Invalid arguments are refused before any request."""
    arguments = {"diff_id": 5, "restart": False} | options
    async with client_of(unreachable, auth=auth) as client:
        with pytest.raises(error):
            await client.image_versions.create(**arguments)


@pytest.mark.parametrize("percentage", [0, 0.01, 95, 99.99, 100.0])
def test_percentages_have_two_decimals(percentage: float) -> None:
    """Percentages from 0 to 100 with at most two decimals are accepted."""
    assert StragglerPolicy(minutes=1, percentage=percentage) == StragglerPolicy(1, percentage)


@pytest.mark.parametrize(
    ("minutes", "percentage", "error"),
    [
        (0, 95.0, ValueError),
        (-5, 95.0, ValueError),
        (1.5, 95.0, TypeError),
        (True, 95.0, TypeError),
        (90, -1, ValueError),
        (90, 100.01, ValueError),
        (90, 95.001, ValueError),
        (90, float("nan"), ValueError),
        (90, "95", TypeError),
        (90, True, TypeError),
    ],
)
def test_a_straggler_policy_that_cannot_be_sent(minutes: Any, percentage: Any, error: type[Exception]) -> None:
    """A policy that the API cannot represent is refused when it is created."""
    with pytest.raises(error, match="minutes" if percentage == 95.0 else "percentage"):
        StragglerPolicy(minutes=minutes, percentage=percentage)
