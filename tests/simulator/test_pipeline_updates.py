from __future__ import annotations

from typing import Any

import pytest
from support.simulator.pipeline import BUILD, FILES, SOURCE, SimulatedPipeline

from clanforge_async import JobRef
from clanforge_async.simulator import Policies, Run, Simulator

NO_UPDATE_LOCK = Policies(lock_by_update=False)
CREATE: dict[str, Any] = {"imageid": 501, "machineid": 77, "desc": "build 2", "url": SOURCE}


async def test_an_update_pulls_the_builds_files() -> None:
    """An update's files are on the build machine once it has completed, and in no image."""
    pipeline = SimulatedPipeline()
    update = await pipeline.update()
    assert pipeline.simulator.files_on(77, 501) == FILES
    pipeline.finish(update)
    assert await pipeline.state(update) == "Completed"
    assert pipeline.simulator.files_on(77, 501) == BUILD
    assert pipeline.simulator.files_on(78, 501) == pipeline.simulator.image(501).files == FILES


@pytest.mark.parametrize("end", ["failed", "squashed"])
async def test_an_update_that_does_not_complete_changes_nothing(end: str) -> None:
    """A failed or squashed update does not change the build machine's files."""
    pipeline = SimulatedPipeline()
    pipeline.simulator.script("update", f"running:60,{end}")
    body = await pipeline.status(pipeline.finish(await pipeline.update()))
    assert (body["jobstatename"], body["success"]) == (end.title(), True)
    assert pipeline.simulator.files_on(77, 501) == FILES


async def test_the_response_is_the_new_job() -> None:
    """The response has the update's id, its job fields and ``success``; ids are counted up."""
    pipeline = SimulatedPipeline()
    body = await pipeline.ok("imageupdate/create", **CREATE)
    assert (body["jobstatename"], body["jobcreated"], body["success"]) == ("Created", int(pipeline.clock.now), True)
    later = await pipeline.update(502)
    assert later.id > body["updateid"]


async def test_an_image_can_have_a_default_source() -> None:
    """Without ``url``, the image's default source is used; without either, the request is refused."""
    pipeline = SimulatedPipeline(image={"update_url": SOURCE})
    create = CREATE | {"url": ""}
    body = await pipeline.ok("imageupdate/create", **create)
    pipeline.finish(JobRef.image_update(body["updateid"]))
    assert pipeline.simulator.files_on(77, 501) == BUILD
    status, message = await pipeline.refused("imageupdate/create", **create | {"imageid": 502})
    assert (status, message) == (400, "missing parameter: url, and image 502 has no update_url")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"imageid": ""}, "missing parameter: imageid"),
        ({"imageid": "x"}, "malformed parameter: imageid"),
        ({"imageid": 0}, "malformed parameter: imageid"),
        ({"imageid": 999}, "unknown image"),
        ({"machineid": ""}, "missing parameter: machineid"),
        ({"machineid": 999}, "unknown machine"),
        ({"desc": " "}, "missing parameter: desc"),
        ({"url": "bucket/folder"}, "malformed parameter: url"),
        ({"url": "ftp://bucket/folder"}, "malformed parameter: url"),
        ({"url": "s3://[bucket/folder"}, "malformed parameter: url"),
        ({"url": "s3://key:se/cret@bucket/folder"}, "malformed parameter: url"),
    ],
)
async def test_a_bad_parameter_is_400(change: dict[str, Any], message: str) -> None:
    """A missing, malformed or unknown parameter is refused with 400 and its name, and starts nothing."""
    pipeline = SimulatedPipeline()
    assert await pipeline.refused("imageupdate/create", **CREATE | change) == (400, message)
    assert pipeline.simulator.image(501).lock is None


async def test_an_unfinished_update_locks_its_image() -> None:
    """Until an update ends, another update or diff of its image is an error with status 200, and options name it."""
    pipeline = SimulatedPipeline()
    update = await pipeline.update()
    locked = (200, f"image locked by updateid: {update.id}")
    assert await pipeline.refused("imageupdate/create", **CREATE) == locked
    assert await pipeline.refused("imageupdate/create", **CREATE | {"machineid": 78}) == locked
    assert await pipeline.refused("imagediff/create", imageid=501, machineid=77) == locked
    assert pipeline.simulator.image(501).lock == update
    options = await pipeline.ok("image/options", gameid=12, imageid=501)
    assert (options["updateid"], "diffid" in options) == (update.id, False)
    pipeline.finish(update)
    assert pipeline.simulator.image(501).lock is None
    await pipeline.diff()


async def test_a_newer_update_replaces_an_older_one() -> None:
    """If updates lock nothing, a newer one of the image on the machine squashes the older; others continue."""
    pipeline = SimulatedPipeline(NO_UPDATE_LOCK)
    older, other_image, other_machine = [await pipeline.update(*of) for of in ((501, 77), (502, 77), (501, 78))]
    assert pipeline.simulator.image(501).lock is None
    newer = await pipeline.update(desc="no change")
    assert await pipeline.state(older) == "Squashed"
    for update in (other_image, other_machine, newer):
        assert await pipeline.state(pipeline.finish(update)) == "Completed"
    assert pipeline.simulator.files_on(77, 501) == FILES


async def test_jobs_of_a_build_machine_run_one_after_another() -> None:
    """A job waits until its build machine has finished the earlier ones; jobs on other machines don't wait."""
    pipeline = SimulatedPipeline()
    pipeline.simulator.script("update", *["created,queued,running:100,completed"] * 2, "running:100,completed")
    pipeline.simulator.add_image(503, game_id=12, files=FILES)
    first, second, elsewhere = await pipeline.update(), await pipeline.update(502), await pipeline.update(503, 78)
    pipeline.clock.advance(50)
    assert [await pipeline.state(ref) for ref in (first, second, elsewhere)] == ["Running", "Queued", "Running"]
    ended = pipeline.simulator.ended_at
    assert ended(second) == ended(first) + 100
    third = await pipeline.update(503, 78) if await pipeline.state(pipeline.finish(elsewhere)) == "Completed" else None
    assert third is not None
    pipeline.finish(second)
    body = await pipeline.status(second)
    assert int(body["jobstart"]) == int(ended(first))


async def test_a_job_that_starts_at_once_is_created_while_it_waits() -> None:
    """A job scripted to run at once is shown as Created until its machine is free."""
    pipeline = SimulatedPipeline()
    pipeline.simulator.script("update", "running:10,completed", "running:10,completed")
    first, second = await pipeline.update(), await pipeline.update(502)
    assert await pipeline.state(second) == "Created"
    pipeline.finish(first)
    assert await pipeline.state(second) == "Running"


async def test_a_machine_that_never_ends_a_job_starts_no_other() -> None:
    """Behind a job that never ends, the next one waits forever and has no estimate."""
    pipeline = SimulatedPipeline()
    pipeline.simulator.script("update", "running")
    await pipeline.update()
    waiting = await pipeline.update(502)
    pipeline.clock.advance(1e6)
    body = await pipeline.status(waiting)
    assert (body["jobstatename"], body["jobeta"], body["jobprogress"]) == ("Queued", None, 0)


@pytest.mark.parametrize("end", ["completed", "failed", "squashed"])
async def test_an_update_can_be_retried(end: str) -> None:
    """A retry runs an update again under the same id, whatever its end, and by default it completes."""
    pipeline = SimulatedPipeline()
    pipeline.simulator.script("update", f"running:60,{end}")
    update = pipeline.finish(await pipeline.update())
    body = await pipeline.ok(f"imageupdate/{update.id}/retry")
    assert (body["updateid"], body["jobstatename"], body["success"]) == (update.id, "Created", True)
    assert (await pipeline.status(pipeline.finish(update)))["jobfailed"] == int(end == "failed")
    assert pipeline.simulator.files_on(77, 501) == BUILD
    assert pipeline.simulator.retries_of(update) == 1


async def test_a_retry_takes_the_next_script() -> None:
    """A retry uses the next scripted run of its kind."""
    pipeline = SimulatedPipeline()
    pipeline.simulator.script("update", "failed", Run(duration=5, outcome="failed", error="again"))
    update = pipeline.finish(await pipeline.update())
    await pipeline.ok(f"imageupdate/{update.id}/retry")
    body = await pipeline.status(pipeline.finish(update))
    assert (body["joberror"], body["jobfailed"]) == ("again", 2)


async def test_a_running_update_can_be_retried() -> None:
    """A retry of a running update starts it again, and the earlier run pulls no files."""
    pipeline = SimulatedPipeline()
    pipeline.simulator.script("update", "running:60,completed", "running:1000,completed")
    update = await pipeline.update()
    pipeline.clock.advance(30)
    body = await pipeline.ok(f"imageupdate/{update.id}/retry")
    assert (body["jobstatename"], body["jobfailed"]) == ("Created", 0)
    pipeline.clock.advance(100)
    assert pipeline.simulator.files_on(77, 501) == FILES
    pipeline.finish(update)
    assert pipeline.simulator.files_on(77, 501) == BUILD


async def test_a_retry_of_a_locked_image_is_refused() -> None:
    """An update of a locked image cannot be retried."""
    pipeline = SimulatedPipeline()
    update = pipeline.finish(await pipeline.update())
    lock = pipeline.simulator.lock(501)
    message = f"image locked by diffid: {lock.id}"
    assert await pipeline.refused(f"imageupdate/{update.id}/retry") == (200, message)
    assert pipeline.simulator.retries_of(update) == 0


async def test_a_status_is_read_by_path_and_by_query() -> None:
    """An update's status is read with its id in the path or, as users' programs do, in the query."""
    pipeline = SimulatedPipeline()
    update = await pipeline.update()
    by_path = await pipeline.status(update)
    assert await pipeline.ok("imageupdate/status", updateid=update.id) == by_path
    assert await pipeline.refused("imageupdate/status") == (400, "missing parameter: updateid")
    assert await pipeline.refused("imageupdate/status", updateid=-1) == (400, "malformed parameter: updateid")
    assert await pipeline.refused("imageupdate/status", updateid=1) == (404, "not found")
    assert await pipeline.refused("imageupdate/1/retry") == (404, "not found")


async def test_an_update_can_be_added_without_an_image() -> None:
    """An update can be added without an image; it can be read and retried."""
    pipeline = SimulatedPipeline()
    update = pipeline.simulator.add_image_update(
        4, duration=10, outcome="failed", retries=["running:5,failed", Run(duration=9)], failures=1
    )
    assert (await pipeline.status(pipeline.finish(update)))["jobfailed"] == 2
    for failures, state in ((3, "Failed"), (3, "Completed")):
        await pipeline.ok(f"imageupdate/{update.id}/retry")
        body = await pipeline.status(pipeline.finish(update))
        assert (body["jobfailed"], body["jobstatename"]) == (failures, state)


def test_an_update_is_added_once() -> None:
    """An update cannot be added twice."""
    simulator = Simulator()
    simulator.add_image_update(4, states="completed")
    with pytest.raises(ValueError, match="job image-update/4 already exists"):
        simulator.add_image_update(4, states="completed")
