from __future__ import annotations

from typing import Any

import pytest
from support.simulator.pipeline import BUILD, FILES, SimulatedPipeline

from clanforge_async import JobRef
from clanforge_async.simulator import Listing, Simulator

MAPS = {"added": {"new.cfg": "2"}, "modified": {"bin/server": "2"}, "removed": {"old.cfg": "1"}}


def described(files: dict[str, str]) -> dict[str, Any]:
    return {path: {"content": content} for path, content in files.items()}


async def test_a_completed_diff_lists_the_differences() -> None:
    """A completed diff compares the build machine's files with the image's latest version; before, it has no maps."""
    pipeline = SimulatedPipeline()
    pipeline.finish(await pipeline.update())
    diff = await pipeline.diff()
    assert not MAPS.keys() & (await pipeline.status(diff)).keys()
    body = await pipeline.status(pipeline.finish(diff))
    assert {name: body[name] for name in MAPS} == {name: described(files) for name, files in MAPS.items()}


async def test_a_file_may_be_described_by_its_test() -> None:
    """A file that is given as a mapping is listed as that mapping."""
    pipeline = SimulatedPipeline()
    pipeline.simulator.add_build_machine(79, files={501: FILES | {"new.cfg": {"size": 7}}})
    body = await pipeline.status(pipeline.finish(await pipeline.diff(machine=79)))
    assert body["added"] == {"new.cfg": {"size": 7}}


async def test_a_diff_without_differences_has_empty_maps() -> None:
    """A machine that no update has touched has the latest version: its diff's maps are there and empty."""
    pipeline = SimulatedPipeline()
    body = await pipeline.status(pipeline.finish(await pipeline.diff()))
    assert [body[name] for name in MAPS] == [{}, {}, {}]


async def test_details_are_the_three_objects() -> None:
    """With ``diff_info=1`` a diff's status describes its game, build machine and image."""
    pipeline = SimulatedPipeline()
    diff = await pipeline.diff()
    body = await pipeline.ok(f"imagediff/{diff.id}/status", diff_info=1)
    assert (body["game"], body["machine"]) == ({"id": 12, "name": "Ashfall"}, {"id": 77, "name": "build-77"})
    assert body["image"] == {"id": 501, "name": "Ashfall 501"}
    assert "game" not in await pipeline.status(diff)


@pytest.mark.parametrize("end", ["running", "running:5,completed", "running:5,failed"])
async def test_an_open_diff_locks_its_image(end: str) -> None:
    """From its creation on, a diff locks its image, even if it fails: updates and diffs are errors with status 200."""
    pipeline = SimulatedPipeline()
    pipeline.simulator.script("diff", end)
    diff = await pipeline.diff()
    for _ in range(2):
        locked = (200, f"image locked by diffid: {diff.id}")
        create = {"imageid": 501, "machineid": 77, "desc": "build 2", "url": "s3://key:secret@bucket/"}
        assert await pipeline.refused("imageupdate/create", **create) == locked
        assert await pipeline.refused("imagediff/create", imageid=501, machineid=78) == locked
        options = await pipeline.ok("image/options", gameid=12, imageid=501)
        assert (options["diffid"], "updateid" in options) == (diff.id, False)
        assert pipeline.simulator.image(501).lock == diff
        pipeline.clock.advance(1000)
    assert pipeline.simulator.image(502).lock is None


async def test_a_squashed_diff_locks_nothing() -> None:
    """A diff that ends as squashed unlocks its image, since it can be neither accepted nor rejected."""
    pipeline = SimulatedPipeline()
    pipeline.simulator.script("diff", "running:5,squashed")
    diff = pipeline.finish(await pipeline.diff())
    assert pipeline.simulator.image(501).lock is None
    assert (await pipeline.refused(f"imagediff/{diff.id}/reject", reinstall=0))[0] == 400


async def test_another_clients_diff_locks_an_image() -> None:
    """`Simulator.lock` adds a completed diff that locks the image, once; an update or diff of it is an error."""
    pipeline = SimulatedPipeline()
    lock = pipeline.simulator.lock(501)
    assert pipeline.simulator.image(501).lock == lock
    assert await pipeline.state(lock) == "Completed"
    message = f"image locked by diffid: {lock.id}"
    assert await pipeline.refused("imagediff/create", imageid=501, machineid=77) == (200, message)
    with pytest.raises(ValueError, match=message):
        pipeline.simulator.lock(501)
    assert await pipeline.ok(f"imagediff/{lock.id}/reject", reinstall=0) == {"diffid": lock.id}
    assert pipeline.simulator.image(501).lock is None


async def test_a_lock_takes_no_script() -> None:
    """`Simulator.lock` uses no scripted run: those are for the jobs of the program under test."""
    pipeline = SimulatedPipeline()
    pipeline.simulator.script("diff", "failed")
    pipeline.simulator.lock(502)
    assert await pipeline.state(await pipeline.diff()) == "Failed"


@pytest.mark.parametrize("through", ["retry", "create"])
async def test_a_diff_is_retried_in_two_ways(through: str) -> None:
    """A diff is retried by its own call or by ``diffid`` of create, keeps its id and its lock, and compares again."""
    pipeline = SimulatedPipeline()
    pipeline.simulator.script("diff", "running:5,failed")
    diff = await pipeline.completed_diff()
    if through == "retry":
        body = await pipeline.ok(f"imagediff/{diff.id}/retry")
    else:
        body = await pipeline.ok("imagediff/create", imageid=501, machineid=77, diffid=diff.id)
    assert (body["diffid"], body["jobstatename"], "success" in body) == (diff.id, "Created", through == "create")
    assert pipeline.simulator.image(501).lock == diff
    assert (await pipeline.status(pipeline.finish(diff)))["added"] == described(MAPS["added"])


async def test_create_with_a_diff_must_fit_it() -> None:
    """``diffid`` of create must be a diff of this image and machine that has ended."""
    pipeline = SimulatedPipeline()
    diff = await pipeline.diff()
    create = {"imageid": 501, "machineid": 77}
    running = f"diff {diff.id} is created: only a completed or failed one can be retried"
    assert await pipeline.refused("imagediff/create", **create, diffid=diff.id) == (400, running)
    pipeline.finish(diff)
    other = (400, f"diff {diff.id} is of another image or machine")
    assert await pipeline.refused("imagediff/create", imageid=502, machineid=77, diffid=diff.id) == other
    assert await pipeline.refused("imagediff/create", imageid=501, machineid=78, diffid=diff.id) == other
    assert await pipeline.refused("imagediff/create", **create, diffid=1) == (400, "unknown diff")
    assert await pipeline.refused("imagediff/create", **create, diffid="x") == (400, "malformed parameter: diffid")


async def test_a_status_is_read_by_path_and_by_query() -> None:
    """A diff's status is read with its id in the path or, as users' programs do, in the query."""
    pipeline = SimulatedPipeline()
    diff = await pipeline.diff()
    assert await pipeline.ok("imagediff/status", diffid=diff.id) == await pipeline.status(diff)
    assert await pipeline.refused("imagediff/status") == (400, "missing parameter: diffid")
    assert await pipeline.refused("imagediff/status", diffid=1) == (404, "not found")


async def test_a_rejected_diff_keeps_the_files() -> None:
    """With ``reinstall=0``, the response is only the id, the image is unlocked, and the build stays on the machine."""
    pipeline = SimulatedPipeline()
    diff = await pipeline.completed_diff()
    assert await pipeline.ok(f"imagediff/{diff.id}/reject", reinstall=0, diffid=diff.id) == {"diffid": diff.id}
    pipeline.clock.advance(1000)
    assert pipeline.simulator.image(501).lock is None
    assert pipeline.simulator.files_on(77, 501) == BUILD
    assert (await pipeline.status(await pipeline.completed_diff()))["added"] == described(MAPS["added"])


async def test_a_rejected_diff_can_bring_the_files_back() -> None:
    """With ``reinstall=1``, the response is a job that no call reads; its end restores the machine's files."""
    pipeline = SimulatedPipeline()
    diff = await pipeline.completed_diff()
    body = await pipeline.ok(f"imagediff/{diff.id}/reject", reinstall=1)
    assert body.pop("uninstalljobid") > diff.id
    assert sorted(body) == [
        *("jobcreated", "joberror", "jobeta", "jobfailed", "jobprogress"),
        *("jobstart", "jobstateid", "jobstatename", "jobupdated"),
    ]
    assert pipeline.simulator.image(501).lock is None
    assert pipeline.simulator.files_on(77, 501) == BUILD
    pipeline.clock.advance(60)
    assert pipeline.simulator.files_on(77, 501) == FILES


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({}, "missing parameter: reinstall"),
        ({"reinstall": "true"}, "malformed parameter: reinstall"),
        ({"reinstall": "2"}, "malformed parameter: reinstall"),
    ],
)
async def test_reinstall_is_0_or_1(query: dict[str, Any], message: str) -> None:
    """``reinstall`` is required, and 0 or 1."""
    pipeline = SimulatedPipeline()
    diff = await pipeline.completed_diff()
    assert await pipeline.refused(f"imagediff/{diff.id}/reject", **query) == (400, message)
    assert pipeline.simulator.image(501).lock == diff


async def test_only_an_open_diff_that_has_ended_is_rejected() -> None:
    """A running, rejected or accepted diff cannot be rejected; an unknown one is 404."""
    pipeline = SimulatedPipeline()
    diff = await pipeline.diff()
    path = f"imagediff/{diff.id}/reject"
    running = f"diff {diff.id} is created: only a completed or failed one can be rejected"
    assert await pipeline.refused(path, reinstall=0) == (400, running)
    pipeline.finish(diff)
    await pipeline.ok(path, reinstall=0)
    again = (400, f"diff {diff.id} has been rejected already")
    assert await pipeline.refused(path, reinstall=0) == again
    assert await pipeline.refused(f"imagediff/{diff.id}/retry") == again
    assert await pipeline.refused("imageversion/create", diffid=diff.id, restart=0) == again
    assert await pipeline.refused("imagediff/1/reject", reinstall=0) == (404, "not found")
    accepted = await pipeline.completed_diff()
    await pipeline.version(accepted)
    message = f"diff {accepted.id} has been accepted already"
    assert await pipeline.refused(f"imagediff/{accepted.id}/reject", reinstall=0) == (400, message)


async def test_a_failed_diff_is_rejected() -> None:
    """A failed diff can be rejected, which unlocks its image."""
    pipeline = SimulatedPipeline()
    pipeline.simulator.script("diff", "failed")
    diff = await pipeline.diff()
    await pipeline.ok(f"imagediff/{diff.id}/reject", reinstall=0)
    assert pipeline.simulator.image(501).lock is None


async def test_a_standalone_diff_follows_the_same_rules() -> None:
    """A diff that was added without an image keeps its listing when retried, and is accepted or rejected once."""
    pipeline = SimulatedPipeline()
    listing = Listing(added={"new.cfg": {}})
    for number in (1, 2):
        pipeline.simulator.add_image_diff(number, states="failed", retries=["running:5,completed"], listing=listing)
    diff = JobRef.image_diff(1)
    await pipeline.ok("imagediff/1/retry")
    assert (await pipeline.status(pipeline.finish(diff)))["added"] == {"new.cfg": {}}
    version = pipeline.finish(await pipeline.version(diff))
    assert await pipeline.state(version) == "Completed"
    assert await pipeline.refused("imagediff/1/reject", reinstall=0) == (400, "diff 1 has been accepted already")
    assert "uninstalljobid" in await pipeline.ok("imagediff/2/reject", reinstall=1)
    pipeline.clock.advance(60)
    assert await pipeline.refused("imagediff/2/retry") == (400, "diff 2 has been rejected already")


async def test_new_ids_skip_those_of_added_jobs() -> None:
    """No job of any kind has the id of a new job."""
    simulator = Simulator()
    simulator.add_image_version(218_000, states="completed")
    simulator.add_image(501, game_id=12)
    assert simulator.image(501).version == 218_001
