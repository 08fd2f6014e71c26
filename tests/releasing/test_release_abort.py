"""Aborting a release removes its own lock, and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.release_worlds import ReleaseWorld, release
from support.virtual_time import virtual_time

from clanforge_async import (
    AbortResult,
    ConfigurationError,
    ImageDiffJob,
    ImageOptions,
    JobRef,
    JobState,
    JobWatcher,
    ReleaseError,
    Releaser,
    ReleaseRejectedError,
    ReleaseStep,
    ReleaseTimeoutError,
    ReleaseToken,
    ServerError,
)
from clanforge_async.refs import EPOCH
from clanforge_async.releases.abort import AbortState, mark_pending, next_action, record
from clanforge_async.releases.actions import ActionRunner, Services
from clanforge_async.releases.journal import make_writer
from clanforge_async.releases.state import Pause, ReadOptions, ReadRollout, RejectDiff, Watch
from clanforge_async.simulator import Drop, GatewayError, Policies


async def stopped(world: ReleaseWorld, after: float, **options: Any) -> ReleaseToken:
    """Run a release for some seconds, and return its last token."""
    kept = list[ReleaseToken]()
    async with world.client() as client, Releaser(client, journal=kept.append, **options) as releaser:
        running = asyncio.ensure_future(releaser.run(release()))
        await asyncio.sleep(after)
        running.cancel()
        await asyncio.wait({running})
    return kept[-1]


async def abort(
    world: ReleaseWorld, token: ReleaseToken | str, releaser: dict[str, Any] | None = None, **options: Any
) -> Any:
    async with world.client(max_retries=0) as client, Releaser(client, **releaser or {}) as aborting:
        try:
            return await aborting.abort(token, **options)
        except ReleaseError as error:
            return error


@virtual_time
async def test_an_abort_waits_for_a_running_update() -> None:
    """An update cannot be cancelled: the abort waits until it ends; there is nothing to reject."""
    world = ReleaseWorld()
    token = await stopped(world, 5.0)
    assert await abort(world, str(token)) == AbortResult(rejected=False)
    assert world.simulator.image(501).lock is None


@pytest.mark.parametrize("reinstall", [True, False])
@virtual_time
async def test_the_diff_is_rejected(reinstall: bool) -> None:
    """The release's diff is rejected once it has ended, and the machine's files are restored if requested."""
    world = ReleaseWorld()
    token = await stopped(world, 25.0)
    assert token.diff is not None
    assert await abort(world, token, reinstall=reinstall) == AbortResult(rejected=True)
    assert world.simulator.image(501).lock is None
    await asyncio.sleep(60.0)
    build = world.simulator.builds["s3://bucket/builds/", "build 2"]
    assert (world.simulator.files_on(77, 501) == build) is not reinstall


@virtual_time
async def test_an_abort_is_in_the_journal() -> None:
    """The journal has the rejection before and after the call; a release resumed from it ends as rejected."""
    world = ReleaseWorld()
    token = await stopped(world, 25.0)
    kept = list[ReleaseToken]()
    await abort(world, token, {"journal": kept.append})
    assert [str(each).rpartition(",")[2].partition("~")[0] for each in kept] == ["reject=", "rejected"]
    assert await abort(world, kept[-1]) == AbortResult(rejected=True)
    async with world.client() as client, Releaser(client) as releaser:
        with pytest.raises(ReleaseRejectedError, match="aborted"):
            await releaser.run(release(), resume=kept[-1])


@virtual_time
async def test_another_clients_lock_is_kept() -> None:
    """A lock that the release does not hold is kept and named."""
    world = ReleaseWorld()
    token = await stopped(world, 0.0)
    lock = world.simulator.lock(501) if world.simulator.image(501).lock is None else None
    result = await abort(world, token)
    assert result.lock == lock
    assert world.simulator.image(501).lock == lock


@virtual_time
async def test_a_version_is_too_late() -> None:
    """A version that runs or has completed is not undone, but named."""
    world = ReleaseWorld()
    token = await stopped(world, 40.0)
    assert token.version is not None
    assert await abort(world, token) == AbortResult(rejected=False, version=token.version)


@virtual_time
async def test_a_failed_version_is_not_too_late() -> None:
    """If the version has failed and the diff still locks the image, the diff is rejected."""
    world = ReleaseWorld(Policies(lock_ends="completed"))
    world.simulator.script("version", "created,running:5,failed")
    async with world.client() as client, Releaser(client) as releaser:
        with pytest.raises(ReleaseError) as raised:
            await releaser.run(release())
    assert await abort(world, raised.value.token) == AbortResult(rejected=True)
    assert world.simulator.image(501).lock is None


@virtual_time
async def test_a_release_that_has_sent_nothing_has_nothing_to_free() -> None:
    """To abort the token of a new release, only the image's options are read."""
    made = release()
    token = ReleaseToken(image_id=501, machine_id=77, plan=made.digest)
    assert await abort(ReleaseWorld(), token) == AbortResult(rejected=False)


@virtual_time
async def test_a_candidate_is_adopted_only_from_an_exclusive_image() -> None:
    """A diff that may belong to the release is kept, unless nothing else releases the image."""
    world = ReleaseWorld()
    token = await stopped(world, 25.0)
    assert token.diff is not None
    text = str(token).replace(f"diff={token.diff.id}", "diff=~1763769600")
    assert await abort(world, text) == AbortResult(rejected=False, lock=token.diff)
    late = text.replace("diff=~1763769600", "diff=~1763779600")
    assert await abort(world, late, {"exclusive": True}) == AbortResult(rejected=False, lock=token.diff)
    assert await abort(world, text, {"exclusive": True}) == AbortResult(rejected=True)


@virtual_time
async def test_an_abort_that_fails_says_where() -> None:
    """After a failed read, an unknown outcome or a timeout, the abort raises an error with the step and the token."""
    world = ReleaseWorld()
    token = await stopped(world, 25.0)
    timeout = await abort(world, token, timeout=1.0)
    assert isinstance(timeout, ReleaseTimeoutError)
    assert timeout.step is ReleaseStep.DIFF
    await asyncio.sleep(30.0)
    world.simulator.faults.add(GatewayError(502), route="image options")
    failed = await abort(world, token)
    assert isinstance(failed.__cause__, ServerError)
    assert (failed.step, failed.token) == (ReleaseStep.CHECK, token)
    world.simulator.faults.clear()
    world.simulator.faults.add(Drop(), route="image-diff reject")
    in_doubt = await abort(world, token)
    assert in_doubt.step is ReleaseStep.APPROVE
    assert "reject=~" in str(in_doubt.token)
    world.simulator.faults.clear()
    assert await abort(world, in_doubt.token) == AbortResult(rejected=True)


@virtual_time
async def test_a_lost_rejection_is_resolved_by_the_lock() -> None:
    """If the response to a rejection was lost, it has happened if the diff no longer locks the image."""
    world = ReleaseWorld()
    token = await stopped(world, 25.0)
    await asyncio.sleep(30.0)
    async with world.client() as client:
        await client.image_diffs.reject(token.diff.id, reinstall=False)  # type: ignore[union-attr]
    text = f"{token},aborted,reject=~1763769700".replace(",approved", "")
    assert await abort(world, text) == AbortResult(rejected=True)


@virtual_time
async def test_a_refused_rejection_is_not_kept_as_intended() -> None:
    """If the server refuses the rejection, the token is the same as before."""
    world = ReleaseWorld(Policies(lock_ends="completed"))
    token = await stopped(world, 40.0)
    assert token.version is not None
    text = str(token).replace(f"version={token.version.id}", "version=~1763769700").partition(",ended")[0]
    kept = list[ReleaseToken]()
    error = await abort(world, text, {"journal": kept.append})
    if isinstance(error, ReleaseError):
        assert str(error.token) == text
        assert str(kept[-1]) == text


@virtual_time
async def test_a_journal_that_fails_stops_the_abort() -> None:
    """If the journal cannot be written, nothing is rejected."""
    world = ReleaseWorld()
    token = await stopped(world, 25.0)

    def fail(_token: ReleaseToken) -> None:
        msg = "the disk is full"
        raise OSError(msg)

    error = await abort(world, token, {"journal": fail})
    assert isinstance(error.__cause__, OSError)
    assert world.simulator.image(501).lock == token.diff


def test_a_lock_that_lingers_is_read_again_for_a_while() -> None:
    """After the rejection, the options are read until the lock is gone, four times at most."""
    diff = JobRef.image_diff(5)
    token = ReleaseToken(image_id=501, machine_id=77, plan=release().digest, diff=diff)
    job = ImageDiffJob(id=5, state=JobState.COMPLETED, created_at=EPOCH, updated_at=EPOCH)
    state = record(AbortState(token=token), Watch(diff), job)
    actions = list[object]()
    while not isinstance(action := next_action(state, exclusive=False, reinstall=True), AbortResult):
        actions.append(action)
        if isinstance(action, RejectDiff):
            state = mark_pending(state, 1763769600.5)
        state = record(state, action, ImageOptions(lock=diff))
    assert action == AbortResult(rejected=True, lock=diff)
    reads = [ReadOptions(), Pause(5.0)] * 3
    assert actions == [ReadOptions(), RejectDiff(diff, reinstall=True), *reads, ReadOptions()]


@virtual_time
async def test_an_abort_refuses_other_actions() -> None:
    """An action that no abort needs is not carried out."""
    async with ReleaseWorld().client() as client, JobWatcher(client) as watcher:
        runner = ActionRunner(Services(client, watcher, make_writer(None)), 501)
        assert isinstance((await runner.run(ReadRollout())).result, TypeError)


@virtual_time
async def test_invalid_arguments_of_an_abort_are_refused() -> None:
    """A text that is not a token, a flag that is not a bool, and a closed client are refused."""
    world = ReleaseWorld()
    token = ReleaseToken(image_id=501, machine_id=77, plan=release().digest)
    with pytest.raises(ConfigurationError, match="not a release token"):
        await abort(world, str(JobRef.image_diff(5)))
    with pytest.raises(TypeError, match="reinstall"):
        await abort(world, token, reinstall=1)
    async with world.client() as client, Releaser(client) as releaser:
        await client.aclose()
        with pytest.raises(ConfigurationError, match="closed"):
            await releaser.abort(token)
