"""Releases, from the build to the machines, against the simulator."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.release_worlds import BUILD, SOURCE, ReleaseWorld, release
from support.virtual_time import now, virtual_time

from clanforge_async import (
    BadRequestError,
    ImageLockedError,
    ImageRelease,
    JobFailedError,
    JobRef,
    JobSquashedError,
    NotFoundError,
    ReleaseError,
    Releaser,
    ReleaseResult,
    ReleaseStep,
    ReleaseSupersededError,
    RolloutError,
)
from clanforge_async.simulator import Policies


async def run(
    world: ReleaseWorld, *, resume: Any = None, releaser: dict[str, Any] | None = None, **options: Any
) -> Any:
    """Run a release, and return its result or its error."""
    async with world.client() as client, Releaser(client, **releaser or {}) as releasing:
        try:
            return await releasing.run(release(**options), resume=resume)
        except ReleaseError as error:
            return error


def failed(result: object, step: ReleaseStep) -> ReleaseError:
    assert isinstance(result, ReleaseError)
    assert result.step is step
    return result


@virtual_time
async def test_a_release_ends_when_the_machines_run_the_build() -> None:
    """The result has each job, and when the release ends, the machines run the build."""
    world = ReleaseWorld()
    result = await run(world, game_build="2.0")
    assert isinstance(result, ReleaseResult)
    assert (result.outcome, result.image_id, result.ok, result.error) == ("released", 501, True, None)
    assert result.unwrap() is result
    assert world.runs_build()
    assert world.simulator.image(501).game_build == "2.0"
    assert result.update is not None
    assert result.diff is not None
    assert result.version is not None
    assert result.update.is_completed
    assert list(result.diff.added) == ["new.cfg"]
    assert result.version.ref == result.token.version == JobRef.image_version(world.simulator.image(501).version)
    assert result.rollout is not None
    assert (result.rollout.pending, result.rollout.completed, result.rollout_observed) == (0, 2, True)
    assert result.elapsed == pytest.approx(now(), abs=1.0)


@virtual_time
async def test_the_diff_follows_the_update_at_once() -> None:
    """Nothing locks the build between the update's end and the diff, so no request is sent in between."""
    world = ReleaseWorld()
    await run(world)
    calls = [request.route.value for request in world.simulator.requests]
    created = calls.index("image-diff create")
    assert calls[created - 1] == "image-update status"


@virtual_time
async def test_a_release_can_end_with_the_version() -> None:
    """With ``wait_for="version"``, a release ends with the version, and reads no rollout."""
    world = ReleaseWorld()
    result = await run(world, wait_for="version")
    assert (result.outcome, result.rollout, result.rollout_observed) == ("released", None, False)
    assert not world.runs_build()
    assert world.simulator.requests.count("image rollout") == 0


@virtual_time
async def test_a_build_that_is_on_the_machine_needs_no_update() -> None:
    """With ``first_step="diff"``, a release begins with the diff."""
    world = ReleaseWorld()
    async with world.client() as client:
        await client.image_updates.create(501, 77, "build 2", SOURCE)
    result = await run(world, first_step="diff", releaser={"lock_wait": 100.0})
    assert result.outcome == "released"
    assert world.runs_build()
    assert world.calls()["image-update create"] == 1


@virtual_time
async def test_a_release_waits_for_late_installs() -> None:
    """Until the installs begin, the counts of machines look complete, but the release waits."""
    world = ReleaseWorld(Policies(install_lag=100.0))
    result = await run(world)
    assert result.rollout_observed
    assert world.runs_build()


@virtual_time
async def test_the_wait_for_a_rollout_to_begin_is_limited() -> None:
    """Without an install within ``settle`` seconds, the release ends, and reports that it saw none."""
    world = ReleaseWorld(Policies(install_lag=5000.0))
    result = await run(world, releaser={"settle": 60.0})
    assert (result.outcome, result.rollout_observed) == ("released", False)


@virtual_time
async def test_a_release_ignores_installs_of_other_images() -> None:
    """The list of installs covers all images: an install of another image that never ends delays no release."""
    world = ReleaseWorld()
    world.simulator.script("install", *["created,running"] * 2)
    async with world.client() as client, Releaser(client) as releaser:
        await releaser.run(release(502, wait_for="version"))
    result = await run(world)
    assert result.outcome == "released"
    assert world.runs_build()
    assert not world.runs_build(502)


@pytest.mark.parametrize(
    ("kind", "step"),
    [("update", ReleaseStep.UPDATE), ("diff", ReleaseStep.DIFF), ("version", ReleaseStep.VERSION)],
)
@pytest.mark.parametrize(("state", "cause"), [("failed", JobFailedError), ("squashed", JobSquashedError)])
@virtual_time
async def test_a_job_that_fails_ends_the_release(
    kind: Any, step: ReleaseStep, state: str, cause: type[Exception]
) -> None:
    """A failed or squashed job ends the release, even if the response has ``success`` true: only the state counts."""
    world = ReleaseWorld()
    world.simulator.script(kind, f"created,running:5,{state}")
    error = failed(await run(world), step)
    assert type(error.__cause__) is cause
    assert error.job is not None
    assert error.token.ref(error.job.kind) == error.job.ref


@virtual_time
async def test_failed_jobs_are_retried_as_often_as_allowed() -> None:
    """``job_retries`` applies to each job, across all processes."""
    world = ReleaseWorld()
    world.simulator.script("update", *["created,running:5,failed"] * 2)
    world.simulator.script("diff", "created,running:5,failed")
    error = failed(await run(world, releaser={"job_retries": 1}), ReleaseStep.UPDATE)
    assert world.calls() == {"image-update create": 1, "image-update retry": 1}
    again = failed(await run(world, releaser={"job_retries": 1}, resume=error.token), ReleaseStep.UPDATE)
    assert again.token == error.token
    result = await run(world, releaser={"job_retries": 2}, resume=again.token)
    assert result.outcome == "released"
    assert world.calls()["image-update retry"] == 2
    assert world.calls()["image-diff retry"] == 1


@virtual_time
async def test_a_lock_that_a_failed_version_leaves_is_named() -> None:
    """If the version fails and the diff still locks the image, the error says so."""
    world = ReleaseWorld(Policies(lock_ends="completed"))
    world.simulator.script("version", "created,running:5,failed")
    error = failed(await run(world), ReleaseStep.VERSION)
    assert f"the image is still locked by image-diff/{error.token.diff.id}" in str(error)  # type: ignore[union-attr]


@virtual_time
async def test_a_lock_of_another_client_is_kept() -> None:
    """A locked image ends the release in its check, and the lock is kept."""
    world = ReleaseWorld()
    lock = world.simulator.lock(501)
    error = failed(await run(world), ReleaseStep.CHECK)
    assert isinstance(error.__cause__, ImageLockedError)
    assert error.__cause__.holder == lock
    assert str(error.__cause__) == f"image 501 is locked by {lock}"
    assert world.simulator.image(501).lock == lock
    assert world.calls() == {}


@virtual_time
async def test_a_release_waits_until_a_lock_is_gone() -> None:
    """A release waits up to ``lock_wait`` seconds until another client's lock is gone."""
    world = ReleaseWorld()
    async with world.client() as client:
        await client.image_updates.create(501, 77, "build 2", SOURCE)
    assert (await run(world, releaser={"lock_wait": 100.0}, description="build 3")).outcome == "released"
    lock = world.simulator.lock(502)
    before = now()
    async with world.client() as client, Releaser(client, lock_wait=100.0) as releaser:
        with pytest.raises(ReleaseError):
            await releaser.run(release(502))
    assert now() - before == pytest.approx(100.0, abs=1.0)
    assert world.simulator.image(502).lock == lock


@virtual_time
async def test_an_unknown_image_or_machine_ends_the_check() -> None:
    """An image in no game, or a machine that cannot build it, is found before anything is sent."""
    world = ReleaseWorld()
    async with world.client() as client, Releaser(client) as releaser:
        with pytest.raises(ReleaseError) as unknown:
            await releaser.run(release(999))
        assert isinstance(unknown.value.__cause__, NotFoundError)
    world.simulator.add_image(504, game_id=12)
    async with world.client() as client, Releaser(client) as releaser:
        with pytest.raises(ReleaseError, match=r"machine 99 is not a build machine .* 77 \(build-77\)"):
            await releaser.run(ImageRelease(504, 99, "build 2"))
    assert world.calls() == {}


@virtual_time
async def test_a_build_that_changes_nothing_is_unchanged() -> None:
    """An empty diff is rejected and the machine keeps its files; the release counts as successful."""
    world = ReleaseWorld()
    result = await run(world, description="no change")
    assert (result.outcome, result.ok, result.error) == ("unchanged", True, None)
    assert world.simulator.image(501).lock is None
    assert world.calls() == {"image-update create": 1, "image-diff create": 1, "image-diff reject": 1}
    again = await run(world, description="no change", resume=result.token)
    assert (again.outcome, again.token) == ("unchanged", result.token)


@virtual_time
async def test_a_build_that_changes_nothing_can_be_made_full() -> None:
    """With ``on_empty="full"``, a full version is created from an empty diff."""
    world = ReleaseWorld()
    result = await run(world, description="no change", on_empty="full")
    assert result.outcome == "released"
    assert world.simulator.image(501).is_full


@virtual_time
async def test_full_after_full_is_unchanged() -> None:
    """If the server refuses a second full version without changes, the diff is rejected, and the result says why."""
    world = ReleaseWorld(last_full=True)
    result = await run(world, description="no change", on_empty="full")
    assert (result.outcome, result.ok) == ("unchanged", True)
    assert isinstance(result.error, BadRequestError)
    assert result.unwrap() is result
    assert world.simulator.image(501).lock is None
    again = await run(world, description="no change", on_empty="full", resume=result.token)
    assert again.outcome == "unchanged"
    assert isinstance(again.error, ReleaseError)


@virtual_time
async def test_active_allocations_end_a_release_that_may_not_force() -> None:
    """A refused version leaves the diff open; the token can be resumed with other options."""
    world = ReleaseWorld(allocations=3)
    error = failed(await run(world), ReleaseStep.VERSION)
    assert isinstance(error.__cause__, BadRequestError)
    assert world.simulator.image(501).lock == error.token.diff
    assert error.token.intent is None
    result = await run(world, resume=str(error.token), force=True, full=True)
    assert result.outcome == "released"
    assert world.simulator.image(501).is_full
    assert set(world.calls().values()) == {1}


@virtual_time
async def test_machines_that_fail_are_an_error() -> None:
    """More failed machines than before and than tolerated raise a `RolloutError` with the counts."""
    world = ReleaseWorld()
    world.simulator.script("install", "created,running:5,failed")
    error = failed(await run(world), ReleaseStep.ROLLOUT)
    assert isinstance(error, RolloutError)
    assert (error.rollout.failed, error.rollout.completed) == (1, 1)
    world.simulator.builds[SOURCE, "build 3"] = BUILD | {"more": "1"}
    result = await run(world, description="build 3")
    assert (result.outcome, result.token.failed_before) == ("released", 1)


@virtual_time
async def test_a_newer_release_that_overtakes_is_reported() -> None:
    """If a newer version is installed instead, the release ends as superseded."""
    world = ReleaseWorld()
    world.simulator.script("install", *["created,running:900,completed"] * 2)
    async with world.client() as client, Releaser(client) as ours, Releaser(client) as rival:
        running = asyncio.ensure_future(ours.run(release()))
        await asyncio.sleep(150.0)
        assert world.simulator.image(501).installs
        await rival.run(release(description="build 3", wait_for="version"))
        with pytest.raises(ReleaseSupersededError, match="is being installed instead"):
            await running


@virtual_time
async def test_a_release_waits_until_manual_installs_are_queued() -> None:
    """Installs that wait to be queued delay the end of the release until they are queued."""
    world = ReleaseWorld(Policies(omitted_install_at="manual"))

    async with world.client() as client, Releaser(client) as releaser:

        async def queue(event: Any) -> None:
            if event.rollout is not None and event.rollout.pending:
                for install in await client.image_installs.list():
                    await client.image_installs.queue(install)

        result = await releaser.run(release(install_at=None), on_event=queue)
    assert result.outcome == "released"
    assert world.runs_build()
