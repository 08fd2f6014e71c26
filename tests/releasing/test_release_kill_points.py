"""A release can be killed at any request, and goes on in another process without a second side effect."""

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
class Death:
    """A process that died in the middle of a release.

    Attributes:
        world: The world in which it died.
        path: The path of the request at which it died.
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


async def deaths(
    policies: Policies, scripts: Scripts, *, is_answered: bool, approve: bool = True, **options: Any
) -> AsyncIterator[Death]:
    """Yield a death at each request of a release with a side effect, and if it is answered, at each read too."""

    async def die_at(number: int) -> tuple[ReleaseWorld, ReleaseToken | None, list[str]]:
        world = ReleaseWorld(policies)
        for kind, states in scripts.items():
            world.simulator.script(kind, states)
        work = run(approve=approve)
        _, token, paths = await run_until_death(world, work, number, is_answered=is_answered, **options)
        return world, token, paths

    _, _, paths = await die_at(0)
    for number, path in enumerate(paths, 1):
        if is_answered or path.endswith(SIDE_EFFECTS):
            world, token, _ = await die_at(number)
            yield Death(world=world, path=path, token=token)


async def go_on(death: Death, work: Callable[[Releaser], Coroutine[Any, Any, Any]], **options: Any) -> Any:
    """Let another process do something in a world where one has died."""
    result, _, _ = await run_until_death(death.world, work, 0, is_answered=True, **options)
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
async def test_a_killed_release_is_released_or_names_the_call_in_doubt(policies: Policies, is_answered: bool) -> None:
    """Killed at any request, a release goes on to its end without a second side effect, or names a create in doubt."""
    in_doubt = list[str]()
    async for death in deaths(policies, {}, is_answered=is_answered):
        result = await go_on(death, run(death.token))
        assert max(death.world.calls().values(), default=0) <= 1
        if death.path not in CREATES:
            assert result.outcome == "released"
            assert death.world.runs_build()
            continue
        assert isinstance(result, ReleaseError)
        assert isinstance(result.__cause__, OutcomeUnknownError)
        assert result.token == death.token
        in_doubt.append(result.__cause__.call)
        if not is_answered:
            result = await go_on(death, run(death.token, unknown="repeat"))
            assert result.outcome == "released"
            assert set(death.world.calls().values()) == {1}
    assert in_doubt == ["image_updates.create", "image_diffs.create", "image_versions.create"]


@pytest.mark.parametrize("is_answered", [False, True])
@virtual_time
async def test_an_exclusive_release_adopts_the_job_of_a_lost_create(is_answered: bool) -> None:
    """If nothing else releases the image, only a version create in doubt needs a person."""
    async for death in deaths(Policies(), {}, is_answered=is_answered, exclusive=True):
        result = await go_on(death, run(death.token), exclusive=True)
        assert max(death.world.calls().values(), default=0) <= 1
        if "imageversion/create" in death.path:
            assert isinstance(result.__cause__, OutcomeUnknownError)
        else:
            assert result.outcome == "released"
            assert death.world.runs_build()


@pytest.mark.parametrize("is_answered", [False, True])
@virtual_time
async def test_retries_and_rejections_are_not_sent_twice(is_answered: bool) -> None:
    """Killed at any request, a release that retries its jobs and is declined does each once, or is in doubt."""
    options: dict[str, Any] = {"exclusive": True, "job_retries": 1}
    in_doubt = list[str]()
    async for death in deaths(Policies(), FAILING_ONCE, is_answered=is_answered, approve=False, **options):
        result = await go_on(death, run(death.token, approve=False), **options)
        assert max(death.world.calls().values(), default=0) <= 1
        if isinstance(result, ReleaseRejectedError):
            assert death.world.simulator.image(501).lock is None
            assert len(death.world.calls()) == 5
            continue
        assert isinstance(result.__cause__, OutcomeUnknownError)
        in_doubt.append(result.__cause__.call)
        result = await go_on(death, run(death.token, approve=False, unknown="repeat"), **options)
        assert isinstance(result, ReleaseRejectedError)
        assert set(death.world.calls().values()) == {1}
    assert in_doubt == ([] if is_answered else ["image_updates.retry", "image_diffs.retry", "image_diffs.reject"])


@virtual_time
async def test_an_abort_frees_what_a_killed_release_took() -> None:
    """After a death at any request an abort leaves no lock, unless the version is under way."""
    async for death in deaths(Policies(), {}, is_answered=True, exclusive=True):
        if death.token is None:
            continue
        result = await go_on(death, abort(death.token), exclusive=True)
        assert isinstance(result, AbortResult)
        assert death.world.simulator.image(501).lock is None
        assert result.lock is None
        assert (result.version is not None) is (death.token.version is not None)
        assert death.world.calls().get("image-diff reject", 0) == result.rejected
