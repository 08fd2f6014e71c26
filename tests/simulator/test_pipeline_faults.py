from __future__ import annotations

from contextlib import suppress
from typing import Any

import httpx
import pytest
from support.simulator.pipeline import SOURCE, SimulatedPipeline

from clanforge_async import JobRef
from clanforge_async.simulator import Drop, Envelope, Fault, GatewayError, Policies, Route, Stale, Truncate, Unreadable

MANUAL = Policies(omitted_install_at="manual")
UPDATE: dict[str, Any] = {"imageid": 501, "machineid": 77, "desc": "build 2", "url": SOURCE}
SIDE_EFFECTS = [
    Route.IMAGE_SET_ACTIVE,
    Route.IMAGE_UPDATE_CREATE,
    Route.IMAGE_UPDATE_RETRY,
    Route.IMAGE_DIFF_CREATE,
    Route.IMAGE_DIFF_RETRY,
    Route.IMAGE_DIFF_REJECT,
    Route.IMAGE_VERSION_CREATE,
    Route.IMAGE_INSTALL_QUEUE,
]


async def prepare(pipeline: SimulatedPipeline, route: Route) -> tuple[str, dict[str, Any]]:
    """Bring a pipeline to the point at which a call can be made, and return its path and query."""
    match route:
        case Route.IMAGE_SET_ACTIVE:
            return "image/501/update", {"active": 0}
        case Route.IMAGE_UPDATE_CREATE:
            return "imageupdate/create", UPDATE
        case Route.IMAGE_UPDATE_RETRY:
            return f"imageupdate/{pipeline.finish(await pipeline.update()).id}/retry", {}
        case Route.IMAGE_DIFF_CREATE:
            return "imagediff/create", {"imageid": 501, "machineid": 77}
        case Route.IMAGE_INSTALL_QUEUE:
            await pipeline.released(install_at="")
            pipeline.clock.advance(10)
            return f"imageinstall/{(await pipeline.installs())[0]['jobid']}/queue", {"mirroring": "false"}
    diff = await pipeline.completed_diff()
    paths = {
        Route.IMAGE_DIFF_RETRY: f"imagediff/{diff.id}/retry",
        Route.IMAGE_DIFF_REJECT: f"imagediff/{diff.id}/reject",
        Route.IMAGE_VERSION_CREATE: "imageversion/create",
    }
    return paths[route], {"diffid": diff.id, "reinstall": 0, "restart": 1, "imageid": 501}


async def facts(pipeline: SimulatedPipeline) -> list[object]:
    """Return everything that a call with a side effect can change."""
    image = pipeline.simulator.image(501)
    pipeline.clock.advance(300)
    later = pipeline.simulator.image(501)
    return [image.active, image.lock, image.installs, later.files, later.version, later.installs]


@pytest.mark.parametrize("route", SIDE_EFFECTS)
@pytest.mark.parametrize(
    ("fault", "acts"),
    [
        (Drop(), False),
        (Drop(after_acting=True), True),
        (GatewayError(502), False),
        (GatewayError(504, after_acting=True), True),
        (Truncate(), True),
        (Unreadable(html=True), True),
        (Envelope("no"), False),
    ],
    ids=repr,
)
async def test_a_fault_before_or_after_the_server_acts(route: Route, fault: Fault, acts: bool) -> None:
    """A call with a fault has either no effect or the effect of one call."""
    seen: list[list[object]] = []
    for injected in (None, fault):
        pipeline = SimulatedPipeline(MANUAL)
        path, query = await prepare(pipeline, route)
        if injected is None and acts:
            await pipeline.ok(path, **query)
        if injected is not None:
            pipeline.simulator.faults.add(injected, route=route, times=1)
            with suppress(httpx.RemoteProtocolError):
                await pipeline.get(path, **query)
        assert pipeline.simulator.requests.count(route) == int(injected is not None or acts)
        seen.append(await facts(pipeline))
    assert seen[0] == seen[1]


async def test_requests_are_counted_by_call_and_id() -> None:
    """The log has the id from the path or the query; for a create, the id of the image."""
    pipeline = SimulatedPipeline()
    diff = await pipeline.completed_diff()
    await pipeline.ok("imagediff/status", diffid=diff.id)
    await pipeline.version(diff)
    await pipeline.rollout()
    await pipeline.installs()
    count = pipeline.simulator.requests.count
    assert count("image-update create", id=501) == count("image-diff create", id=501) == 1
    assert count("image-diff status", id=diff.id) == count("image-version create", id=diff.id) == 1
    assert count("image rollout", id=501) == count("image-install list") == 1
    assert count("image-update create", id=502) == 0


async def test_a_fault_is_for_one_image_or_job() -> None:
    """A fault can be limited to the calls of one image or job."""
    pipeline = SimulatedPipeline()
    pipeline.simulator.faults.add(GatewayError(503), route="image-update create", id=502)
    await pipeline.update()
    response = await pipeline.get("imageupdate/create", **UPDATE | {"imageid": 502})
    assert response.status_code == 503


async def test_an_updates_status_can_be_stale() -> None:
    """`Stale` shows the end of the run before an update's retry, if requested also in the response to the retry."""
    pipeline = SimulatedPipeline()
    pipeline.simulator.script("update", "running:10,failed", "running:100,completed")
    update = pipeline.finish(await pipeline.update())
    ended = await pipeline.status(update)
    rule = pipeline.simulator.faults.add(Stale(5, retry_answer=True))
    pipeline.clock.advance(1)
    assert (await pipeline.ok(f"imageupdate/{update.id}/retry"))["jobstatename"] == "Failed"
    assert await pipeline.status(update) == ended
    pipeline.clock.advance(5)
    assert await pipeline.state(update) == "Running"
    pipeline.simulator.faults.remove(rule)
    assert (await pipeline.status(update))["jobupdated"] > ended["jobupdated"]


async def test_only_retried_jobs_are_stale() -> None:
    """`Stale` does not affect calls that create jobs, even if an image has the id of a retried job."""
    pipeline = SimulatedPipeline()
    pipeline.simulator.add_image_diff(501, states="failed")
    await pipeline.ok("imagediff/501/retry")
    pipeline.simulator.faults.add(Stale())
    assert (await pipeline.ok("imagediff/create", imageid=501, machineid=77))["diffid"] != 501


async def test_a_dropped_request_is_processed() -> None:
    """An update whose response is dropped has begun nevertheless: options show it."""
    pipeline = SimulatedPipeline()
    pipeline.simulator.faults.add(Drop(after_acting=True), route="image-update create")
    with pytest.raises(httpx.RemoteProtocolError):
        await pipeline.update()
    lock = pipeline.simulator.image(501).lock
    options = await pipeline.ok("image/options", gameid=12, imageid=501)
    assert lock == JobRef.image_update(options["updateid"])
