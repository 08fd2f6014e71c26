"""Responses about another job than the requested one."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from support.scripted_server import ScriptedServer, answer, wire
from support.virtual_time import virtual_time

from clanforge_async import InvalidResponseError, JobRef, JobWatcher, RetryOutcomeUnknownError


@pytest.mark.parametrize("other", [4, "4", 4.0, 500])
async def test_a_status_about_another_job_is_invalid(other: Any) -> None:
    """A status with another id than the requested one is invalid, and the error names the id's field."""
    server = ScriptedServer()
    server.diff(5, httpx.Response(200, json=wire(5) | {"diffid": other}))
    server.version(5, httpx.Response(200, json=wire(5) | {"imageversionid": other}))
    async with server.client() as client:
        with pytest.raises(InvalidResponseError, match="diffid is") as raised:
            await client.image_diffs.status(5)
        assert raised.value.fields == ("diffid",)
        assert raised.value.body.startswith("{")
        with pytest.raises(InvalidResponseError, match="imageversionid is") as raised:
            await client.image_versions.status(5)
        assert raised.value.fields == ("imageversionid",)


@pytest.mark.parametrize("same", [5, "5", 5.0, " 5 "])
async def test_the_same_id_may_be_written_otherwise(same: Any) -> None:
    """Numbers may arrive as text or as floats."""
    server = ScriptedServer()
    server.diff(5, httpx.Response(200, json=wire(5) | {"diffid": same}))
    async with server.client() as client:
        assert (await client.image_diffs.status(5)).id == 5


@virtual_time
async def test_a_retry_response_about_another_job_has_an_unknown_outcome() -> None:
    """The retry may have happened, so it is not sent again; the status decides."""
    server = ScriptedServer()
    server.retry(5, answer(wire(6)))
    server.diff(5, answer(wire(5) | {"jobstateid": 6}))
    async with server.client() as client:
        with pytest.raises(RetryOutcomeUnknownError):
            await client.image_diffs.retry(5)
    assert len(server.asked["imagediff/retry", 5]) == 1


@virtual_time
async def test_a_watch_waits_for_its_own_job() -> None:
    """A poll that shows another job counts as failed: a proxy that mixes up responses ends no watch."""
    server = ScriptedServer()
    server.version(5, answer(wire(6) | {"jobstateid": 5}), answer(wire(5) | {"jobstateid": 6}))
    async with server.client() as client, JobWatcher(client) as watcher:
        job = await watcher.wait(JobRef.image_version(5), check=False)
    assert job.is_failed
