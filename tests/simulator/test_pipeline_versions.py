from __future__ import annotations

from typing import Any

import pytest
from support.simulator.pipeline import BUILD, FILES, SimulatedPipeline

from clanforge_async.simulator import DEMO_ACCOUNT, Policies

AFTER_COMPLETION = Policies(lock_ends="completed")
BECOMES_FULL = Policies(empty_diff="full")
BEARER: dict[str, Any] = {"auth": None, "headers": {"Authorization": f"Bearer {DEMO_ACCOUNT.token}"}}


async def test_a_version_makes_the_diffs_files_the_images() -> None:
    """Once a version has completed, the image has its id, the files of the diff, and the build's name."""
    pipeline = SimulatedPipeline()
    diff = await pipeline.completed_diff()
    before = pipeline.simulator.image(501)
    version = await pipeline.version(diff, game_build='"1.2"')
    assert pipeline.simulator.image(501).files == before.files == FILES
    assert (await pipeline.status(version))["success"] is True
    pipeline.finish(version)
    image = pipeline.simulator.image(501)
    assert (image.files, image.version, image.is_full, image.game_build) == (BUILD, version.id, False, '"1.2"')
    assert before.version != version.id
    assert pipeline.simulator.image(502).files == FILES


async def test_a_version_without_a_name_keeps_the_last() -> None:
    """A version without ``game_build`` keeps the previous build's name."""
    pipeline = SimulatedPipeline()
    await pipeline.released(game_build="1.2")
    await pipeline.released(desc="no change")
    image = pipeline.simulator.image(501)
    assert (image.files, image.game_build) == (FILES, "1.2")


async def test_the_response_is_the_new_job() -> None:
    """The response has the version's id, its job fields and ``success``."""
    pipeline = SimulatedPipeline()
    diff = await pipeline.completed_diff()
    body = await pipeline.ok("imageversion/create", diffid=diff.id, restart=0)
    assert body["imageversionid"] > diff.id
    assert (body["jobstatename"], body["success"]) == ("Created", True)


async def test_creating_a_version_frees_the_image() -> None:
    """By default, the lock ends when the version is created, and another diff can be created while it is packaged."""
    pipeline = SimulatedPipeline()
    version = await pipeline.version(await pipeline.completed_diff())
    assert pipeline.simulator.image(501).lock is None
    diff = await pipeline.diff()
    pipeline.finish(version)
    assert pipeline.simulator.image(501).lock == diff


@pytest.mark.parametrize("end", ["failed", "squashed"])
async def test_a_version_that_fails_changes_nothing(end: str) -> None:
    """A failed or squashed version does not change the image, and its diff cannot be used again."""
    pipeline = SimulatedPipeline()
    pipeline.simulator.script("version", f"running:9,{end}")
    diff = await pipeline.completed_diff()
    version = pipeline.finish(await pipeline.version(diff))
    assert await pipeline.state(version) == end.title()
    pipeline.clock.advance(100)
    image = pipeline.simulator.image(501)
    assert (image.files, image.lock, image.installs) == (FILES, None, ())
    message = f"diff {diff.id} has been accepted already"
    assert await pipeline.refused("imageversion/create", diffid=diff.id, restart=0) == (400, message)


async def test_the_lock_may_last_until_completion() -> None:
    """If the lock ends with the version, it lasts while that is packaged, and the diff cannot be used again."""
    pipeline = SimulatedPipeline(AFTER_COMPLETION)
    diff = await pipeline.completed_diff()
    version = await pipeline.version(diff)
    assert pipeline.simulator.image(501).lock == diff
    accepted = (400, f"diff {diff.id} has been accepted already")
    assert await pipeline.refused("imageversion/create", diffid=diff.id, restart=0) == accepted
    assert await pipeline.refused(f"imagediff/{diff.id}/reject", reinstall=0) == accepted
    pipeline.finish(version)
    assert pipeline.simulator.image(501).lock is None


async def test_a_failed_version_may_leave_the_diff_open() -> None:
    """If the lock ends with the version, a failed version leaves the diff open, to be accepted again or rejected."""
    pipeline = SimulatedPipeline(AFTER_COMPLETION)
    pipeline.simulator.script("version", "running:9,failed", "running:9,failed")
    diff = await pipeline.completed_diff()
    for _ in range(2):
        pipeline.finish(await pipeline.version(diff))
        assert pipeline.simulator.image(501).lock == diff
    await pipeline.ok(f"imagediff/{diff.id}/reject", reinstall=0)
    assert pipeline.simulator.image(501).lock is None


async def test_only_a_completed_diff_is_accepted() -> None:
    """A running, failed or unknown diff is not accepted; the image stays locked."""
    pipeline = SimulatedPipeline()
    pipeline.simulator.script("diff", "running:5,failed")
    diff = await pipeline.diff()
    for state in ("running", "failed"):
        pipeline.clock.advance(1)
        message = f"diff {diff.id} is {state}: only a completed one can be accepted"
        assert await pipeline.refused("imageversion/create", diffid=diff.id, restart=0) == (400, message)
        pipeline.clock.advance(10)
    assert pipeline.simulator.image(501).lock == diff
    assert await pipeline.refused("imageversion/create", diffid=1, restart=0) == (400, "unknown diff")


async def test_active_allocations_need_force() -> None:
    """With active allocations, a version is refused without ``force=1``, and the diff stays open."""
    pipeline = SimulatedPipeline(image={"allocations": 2})
    diff = await pipeline.completed_diff()
    message = "image 501 has 2 active allocations: force must be 1"
    for query in ({}, {"force": 0}):
        assert await pipeline.refused("imageversion/create", diffid=diff.id, restart=1, **query) == (400, message)
    assert pipeline.simulator.image(501).lock == diff
    version = pipeline.finish(await pipeline.version(diff, force=1))
    assert pipeline.simulator.image(501).version == version.id


async def test_an_empty_diff_needs_full() -> None:
    """A diff without differences needs ``full=1``, which gives a full version."""
    pipeline = SimulatedPipeline()
    diff = await pipeline.completed_diff(desc="no change")
    message = f"diff {diff.id} has no differences: full must be 1"
    assert await pipeline.refused("imageversion/create", diffid=diff.id, restart=1) == (400, message)
    version = pipeline.finish(await pipeline.version(diff, full=1))
    image = pipeline.simulator.image(501)
    assert (image.version, image.files, image.is_full) == (version.id, FILES, True)


@pytest.mark.parametrize("policies", [Policies(), BECOMES_FULL])
async def test_full_after_full_is_refused(policies: Policies) -> None:
    """A full version without differences right after a full one is refused, and the diff stays open."""
    pipeline = SimulatedPipeline(policies)
    await pipeline.released(full=1)
    diff = await pipeline.completed_diff()
    message = f"diff {diff.id} has no differences, and the previous version is full already"
    assert await pipeline.refused("imageversion/create", diffid=diff.id, restart=1, full=1) == (400, message)
    assert pipeline.simulator.image(501).lock == diff
    await pipeline.ok(f"imagediff/{diff.id}/reject", reinstall=0)
    await pipeline.released(desc="no change", full=1)
    assert pipeline.simulator.image(501).files == FILES


async def test_an_empty_diff_may_become_full_by_itself() -> None:
    """With the policy ``empty_diff="full"``, an empty diff becomes a full version without ``full=1``."""
    pipeline = SimulatedPipeline(BECOMES_FULL)
    version = await pipeline.released(desc="no change")
    image = pipeline.simulator.image(501)
    assert (image.version, image.is_full) == (version.id, True)


async def test_an_image_can_begin_with_a_full_version() -> None:
    """An image added with ``last_full`` refuses a full version without differences at once."""
    pipeline = SimulatedPipeline(image={"last_full": True})
    diff = await pipeline.completed_diff(desc="no change")
    _, message = await pipeline.refused("imageversion/create", diffid=diff.id, restart=0, full=1)
    assert "full already" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"diffid": ""}, "missing parameter: diffid"),
        ({"diffid": "1.5"}, "malformed parameter: diffid"),
        ({"restart": ""}, "missing parameter: restart"),
        ({"restart": "true"}, "malformed parameter: restart"),
        ({"full": "yes"}, "malformed parameter: full"),
        ({"force": "2"}, "malformed parameter: force"),
        ({"install_at": "now"}, "malformed parameter: install_at"),
        ({"install_at": "1.5"}, "malformed parameter: install_at"),
        ({"install_at": "-1"}, "malformed parameter: install_at"),
        ({"install_at": "253402300800"}, "malformed parameter: install_at"),
        ({"disable_timeout": 5}, "disable_timeout and disable_percentage must be sent together"),
        ({"disable_percentage": 5}, "disable_timeout and disable_percentage must be sent together"),
        ({"disable_timeout": "5.5", "disable_percentage": 5}, "malformed parameter: disable_timeout"),
        ({"disable_timeout": "5", "disable_percentage": "100.01"}, "malformed parameter: disable_percentage"),
        ({"disable_timeout": "5", "disable_percentage": "-1"}, "malformed parameter: disable_percentage"),
    ],
)
async def test_a_bad_parameter_is_400(change: dict[str, Any], message: str) -> None:
    """A missing or malformed parameter is refused with 400 and its name, and the diff stays open."""
    pipeline = SimulatedPipeline()
    diff = await pipeline.completed_diff()
    query = {"diffid": diff.id, "restart": 0} | change
    assert await pipeline.refused("imageversion/create", **query) == (400, message)
    assert pipeline.simulator.image(501).lock == diff


async def test_a_token_needs_a_number_to_install_at() -> None:
    """The host that accepts tokens accepts a Unix second, but not ``NOW()``."""
    pipeline = SimulatedPipeline()
    diff = await pipeline.completed_diff()
    query = {"diffid": diff.id, "restart": 1}
    refused = await pipeline.get("imageversion/create", http=BEARER, **query, install_at="NOW()")
    assert (refused.status_code, refused.json()["error_message"]) == (400, "malformed parameter: install_at")
    accepted = await pipeline.get("imageversion/create", http=BEARER, **query, install_at=int(pipeline.clock.now))
    assert accepted.status_code == 200


async def test_versions_wait_for_their_build_machine() -> None:
    """A version is packaged on its diff's build machine, after the earlier jobs."""
    pipeline = SimulatedPipeline()
    diff = await pipeline.completed_diff()
    pipeline.simulator.script("update", "running:500,completed")
    update = await pipeline.update(502)
    version = await pipeline.version(diff)
    assert pipeline.simulator.ended_at(version) > pipeline.simulator.ended_at(update)


async def test_a_build_may_be_on_the_machine_already() -> None:
    """Files that were put on a build machine manually are compared without an update."""
    pipeline = SimulatedPipeline()
    pipeline.simulator.add_build_machine(79, name="by hand", files={501: BUILD})
    diff = pipeline.finish(await pipeline.diff(machine=79))
    pipeline.finish(await pipeline.version(diff))
    assert pipeline.simulator.image(501).files == BUILD
