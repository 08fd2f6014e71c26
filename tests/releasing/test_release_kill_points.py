"""A release can be killed at any request, and is resumed in another process without a second side effect."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Literal

import pytest
from attrs import frozen
from support.release_worlds import ReleaseWorld, release, run_until_death
from support.virtual_time import virtual_time

from clanforge_async import (
    AbortResult,
    OutcomeUnknownError,
    ReleaseError,
    Releaser,
    ReleaseRejectedError,
    ReleaseResult,
    ReleaseToken,
)
from clanforge_async.simulator import Policies

SIDE_EFFECTS = ("create", "retry", "reject")
CREATES = {"/cfp/v1/imageupdate/create", "/cfp/v1/imagediff/create", "/cfp/v1/imageversion/create"}

Scripts = dict[Literal["update", "diff"], str]
Work = Callable[[Releaser], Coroutine[Any, Any, ReleaseResult | ReleaseError]]


def abort(token: ReleaseToken) -> Callable[[Releaser], Coroutine[Any, Any, AbortResult]]:
    return lambda releaser: releaser.abort(token)


@frozen(kw_only=True)
class Crash:
    """A process that crashed in the middle of a release.

    Attributes:
        world: The world in which it crashed.
        path: The path of the request at which it crashed.
        token: The last token in its journal.
    """

    world: ReleaseWorld
    path: str
    token: ReleaseToken | None


def run(token: ReleaseToken | None = None, **arguments: Any) -> Work:
    async def work(releaser: Releaser) -> ReleaseResult | ReleaseError:
        try:
            return await releaser.run(release(), resume=token, **arguments)
        except ReleaseError as error:
            return error

    return work


async def crashes(
    policies: Policies, scripts: Scripts, *, is_answered: bool, approve: bool = True, **options: Any
) -> AsyncIterator[Crash]:
    """Yield a crash at each request of a release with a side effect and, if it gets a response, at each read too."""

    async def crash_at(number: int) -> tuple[ReleaseWorld, ReleaseToken | None, list[str]]:
        world = ReleaseWorld(policies)
        for kind, states in scripts.items():
            world.simulator.script(kind, states)
        work = run(approve=approve)
        _, token, paths = await run_until_death(world, work, number, is_answered=is_answered, **options)
        return world, token, paths

    _, _, paths = await crash_at(0)
    for number, path in enumerate(paths, 1):
        if is_answered or path.endswith(SIDE_EFFECTS):
            world, token, _ = await crash_at(number)
            yield Crash(world=world, path=path, token=token)


async def resume_elsewhere(crash: Crash, work: Callable[[Releaser], Coroutine[Any, Any, Any]], **options: Any) -> Any:
    """Run something in another process, in a world in which a process has crashed."""
    result, _, _ = await run_until_death(crash.world, work, 0, is_answered=True, **options)
    return result


FAILING_ONCE: Scripts = {"update": "created,running:5,failed", "diff": "created,running:5,failed"}


@pytest.mark.parametrize(
    ("policies", "is_answered"),
    [
        (Policies(), True),
        (Policies(), False),
        (Policies(lock_ends="completed", lock_by_update=False), False),
    ],
)
@virtual_time
async def test_a_killed_release_is_released_or_names_the_unknown_call(policies: Policies, is_answered: bool) -> None:
    """Killed at any request, a release resumes without a second side effect, or names a create of unknown outcome."""
    unknown_calls = list[str]()
    async for crash in crashes(policies, {}, is_answered=is_answered):
        result = await resume_elsewhere(crash, run(crash.token))
        assert max(crash.world.calls().values(), default=0) <= 1
        if crash.path not in CREATES:
            assert result.outcome == "released"
            assert crash.world.runs_build()
            continue
        assert isinstance(result, ReleaseError)
        assert isinstance(result.__cause__, OutcomeUnknownError)
        assert result.token == crash.token
        unknown_calls.append(result.__cause__.call)
        if not is_answered:
            result = await resume_elsewhere(crash, run(crash.token, unknown="repeat"))
            assert result.outcome == "released"
            assert set(crash.world.calls().values()) == {1}
    assert unknown_calls == ["image_updates.create", "image_diffs.create", "image_versions.create"]


@pytest.mark.parametrize("is_answered", [False, True])
@virtual_time
async def test_an_exclusive_release_adopts_the_job_of_a_lost_create(is_answered: bool) -> None:
    """If nothing else releases the image, only a lost version create needs a person."""
    async for crash in crashes(Policies(), {}, is_answered=is_answered, exclusive=True):
        result = await resume_elsewhere(crash, run(crash.token), exclusive=True)
        assert max(crash.world.calls().values(), default=0) <= 1
        if "imageversion/create" in crash.path:
            assert isinstance(result.__cause__, OutcomeUnknownError)
        else:
            assert result.outcome == "released"
            assert crash.world.runs_build()


@pytest.mark.parametrize("is_answered", [False, True])
@virtual_time
async def test_retries_and_rejections_are_not_sent_twice(is_answered: bool) -> None:
    """Killed at any request, a declined release with retries sends each of them once, or its outcome is unknown."""
    options: dict[str, Any] = {"exclusive": True, "job_retries": 1}
    unknown_calls = list[str]()
    async for crash in crashes(Policies(), FAILING_ONCE, is_answered=is_answered, approve=False, **options):
        result = await resume_elsewhere(crash, run(crash.token, approve=False), **options)
        assert max(crash.world.calls().values(), default=0) <= 1
        if isinstance(result, ReleaseRejectedError):
            assert crash.world.simulator.image(501).lock is None
            assert len(crash.world.calls()) == 5
            continue
        assert isinstance(result.__cause__, OutcomeUnknownError)
        unknown_calls.append(result.__cause__.call)
        result = await resume_elsewhere(crash, run(crash.token, approve=False, unknown="repeat"), **options)
        assert isinstance(result, ReleaseRejectedError)
        assert set(crash.world.calls().values()) == {1}
    assert unknown_calls == ([] if is_answered else ["image_updates.retry", "image_diffs.retry", "image_diffs.reject"])


@virtual_time
async def test_an_abort_removes_the_lock_of_a_killed_release() -> None:
    """After a crash at any request, an abort leaves no lock, unless the version is under way."""
    async for crash in crashes(Policies(), {}, is_answered=True, exclusive=True):
        if crash.token is None:
            continue
        result = await resume_elsewhere(crash, abort(crash.token), exclusive=True)
        assert isinstance(result, AbortResult)
        assert crash.world.simulator.image(501).lock is None
        assert result.lock is None
        assert (result.version is not None) is (crash.token.version is not None)
        assert crash.world.calls().get("image-diff reject", 0) == result.rejected
