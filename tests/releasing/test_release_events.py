"""Events, dry runs and errors of releases."""

from __future__ import annotations

import logging
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
from support.release_worlds import ReleaseWorld, release
from support.virtual_time import virtual_time

from clanforge_async import (
    ClanforgeError,
    ConfigurationError,
    ImageLockedError,
    ImageRelease,
    ImageRollout,
    NotFoundError,
    ReleaseError,
    ReleaseEvent,
    Releaser,
    ReleaseRejectedError,
    ReleaseStep,
    ReleaseSupersededError,
    ReleaseTimeoutError,
    ReleaseToken,
    RolloutError,
    StragglerPolicy,
)
from clanforge_async.resources.sources import S3Source

TOKEN = ReleaseToken(image_id=501, machine_id=77, plan=release().digest)


@virtual_time
async def test_events_report_each_step_in_order() -> None:
    """Each step starts once, followed by its job's snapshots; the end comes last, and every token can be parsed."""
    world = ReleaseWorld()
    events = list[ReleaseEvent]()
    made = release()
    async with world.client() as client, Releaser(client) as releaser:
        await releaser.run(made, on_event=events.append)
    assert [event.step for event in events if event.kind == "started"] == list(ReleaseStep)
    assert [event.kind for event in events if event.kind not in ("started", "job", "rollout")] == [
        "approved",
        "finished",
    ]
    assert events[-1].kind == "finished"
    assert all(event.release is made for event in events)
    assert all((event.job is not None) is (event.kind == "job") for event in events)
    assert all((event.rollout is not None) is (event.kind == "rollout") for event in events)
    assert all(ReleaseToken.parse(str(event.token)) == event.token for event in events)
    assert all(event.at.tzinfo is UTC for event in events)
    assert abs(datetime.now(UTC) - events[-1].at).total_seconds() < 60.0


@pytest.mark.parametrize("is_async", [False, True])
@virtual_time
async def test_a_callback_that_raises_is_logged(is_async: bool, caplog: pytest.LogCaptureFixture) -> None:
    """An ``on_event`` that raises, plain or async, ends no release, and the error is logged."""

    def fail(_event: ReleaseEvent) -> None:
        msg = "in the callback"
        raise KeyError(msg)

    async def fail_later(event: ReleaseEvent) -> None:
        fail(event)

    async with ReleaseWorld().client() as client, Releaser(client) as releaser:
        result = await releaser.run(release(wait_for="version"), on_event=fail_later if is_async else fail)
    assert result.outcome == "released"
    records = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert {record.getMessage() for record in records} == {"on_event failed for image 501"}


@virtual_time
async def test_an_adopted_job_and_a_held_diff_are_events() -> None:
    """An adoption, a hold, a rejection and the wait for a lock are events."""
    world = ReleaseWorld()
    kinds = list[str]()

    def note(event: ReleaseEvent) -> None:
        kinds.append(event.kind)

    async with world.client() as client, Releaser(client, exclusive=True) as releaser:
        await client.image_updates.create(501, 77, "build 2", "s3://key:secret@bucket/builds/")
        token = ReleaseToken.parse(f"{TOKEN}failed-before=0,update=~1763769600")
        held = await releaser.run(release(), resume=token, approve="hold", on_event=note)
        with pytest.raises(ReleaseRejectedError):
            await releaser.run(release(), resume=held.token, approve=False, on_event=note)
    assert [kind for kind in kinds if kind not in ("started", "job")] == [
        "adopted",
        "held",
        "finished",
        "rejected",
        "finished",
    ]
    kinds.clear()
    world.simulator.lock(502)
    async with world.client() as client, Releaser(client, lock_wait=100.0) as releaser:
        with pytest.raises(ReleaseError):
            await releaser.run(release(502), on_event=note)
    assert kinds == ["started", "waiting", "finished"]


@virtual_time
async def test_a_dry_run_only_reads() -> None:
    """A plan has the options, the counts of machines and the calls with masked secrets, and only reads are sent."""
    world = ReleaseWorld()
    source = S3Source("bucket", "builds", "AKIA-secret", "hush-hush")
    made = ImageRelease(
        501, 77, "build 2", source, game_build="2.0", straggler_policy=StragglerPolicy(minutes=90, percentage=95.0)
    )
    async with world.client() as client, Releaser(client) as releaser:
        plan = await releaser.check(made)
        short = await releaser.check(release(first_step="diff", wait_for="version", install_at=None))
    assert (plan.image_id, plan.ok, plan.lock) == (501, True, None)
    assert plan.options is not None
    assert plan.rollout is not None
    assert list(plan.steps) == [
        "image_updates.create(501, 77, 'build 2', source='s3://***@bucket/builds/')",
        "image_diffs.create(501, 77)",
        (
            "image_versions.create(DIFF, restart=False, full=False, force=False, game_build='2.0', install_at='now', "
            "straggler_policy=StragglerPolicy(minutes=90, percentage=95.0))"
        ),
    ]
    assert (short.rollout, len(short.steps)) == (None, 2)
    assert world.calls() == {}


@virtual_time
async def test_a_dry_run_lists_what_would_end_the_release() -> None:
    """A lock, an unknown image, another machine and failed reads are listed as problems and not raised."""
    world = ReleaseWorld()
    lock = world.simulator.lock(501)
    async with world.client() as client, Releaser(client) as releaser:
        plan = await releaser.check(ImageRelease(501, 99, "build 2"))
        assert (plan.lock, plan.ok) == (lock, False)
        assert [type(problem) for problem in plan.problems] == [ReleaseError, ImageLockedError]
        unknown = await releaser.check(release(999))
        assert [type(problem) for problem in unknown.problems] == [NotFoundError, NotFoundError]
        with pytest.raises(TypeError, match="release must be an ImageRelease"):
            await releaser.check("501")  # type: ignore[arg-type]
        await client.aclose()
        closed = await releaser.check(release(502))
        assert {type(problem) for problem in closed.problems} == {ConfigurationError}


@pytest.mark.parametrize(
    "error",
    [
        ReleaseError("failed", step=ReleaseStep.DIFF, token=TOKEN),
        ReleaseRejectedError("no", step=ReleaseStep.APPROVE, token=TOKEN),
        ReleaseSupersededError("newer", step=ReleaseStep.ROLLOUT, token=TOKEN),
        ReleaseTimeoutError("late", step=ReleaseStep.CHECK, token=TOKEN),
        RolloutError("machines", step=ReleaseStep.ROLLOUT, token=TOKEN, rollout=ImageRollout(failed=2)),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_survive_a_pickle(error: ReleaseError) -> None:
    """Each error of a release can be pickled with its attributes and its cause."""
    error.__cause__ = ClanforgeError("the reason")
    twin: Any = pickle.loads(pickle.dumps(error))  # noqa: S301 - the claim is about pickling
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert vars(twin) == vars(error)
    assert str(twin.__cause__) == "the reason"
