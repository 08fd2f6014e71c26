"""The approval of a diff."""

from __future__ import annotations

from typing import Any

import pytest
from support.release_worlds import ReleaseWorld, release
from support.virtual_time import virtual_time

from clanforge_async import (
    ConfigurationError,
    ImageDiffJob,
    ReleaseError,
    Releaser,
    ReleaseRejectedError,
    ReleaseStep,
)


async def run(world: ReleaseWorld, **arguments: Any) -> Any:
    """Run a release, and return its result or its error."""
    options = arguments.pop("options", {})
    async with world.client() as client, Releaser(client) as releaser:
        try:
            return await releaser.run(release(**options), **arguments)
        except ReleaseError as error:
            return error


@pytest.mark.parametrize("is_async", [False, True])
@virtual_time
async def test_the_callback_gets_the_diff(is_async: bool) -> None:
    """A callback, plain or async, is called with the diff and its files; True releases it."""
    seen = list[ImageDiffJob]()

    def plain(diff: ImageDiffJob) -> bool:
        seen.append(diff)
        return True

    async def waiting(diff: ImageDiffJob) -> bool:
        return plain(diff)

    result = await run(ReleaseWorld(), approve=waiting if is_async else plain)
    assert result.outcome == "released"
    assert [list(diff.modified) for diff in seen] == [["bin/server"]]


@pytest.mark.parametrize("approve", [False, lambda _diff: False], ids=["False", "callback"])
@virtual_time
async def test_a_diff_that_is_not_approved_is_rejected(approve: Any) -> None:
    """False rejects the diff, restores the machine's files, and raises; so does its token, without a request."""
    world = ReleaseWorld()
    error = await run(world, approve=approve)
    assert isinstance(error, ReleaseRejectedError)
    assert error.step is ReleaseStep.APPROVE
    assert world.simulator.image(501).lock is None
    before = world.simulator.requests.count()
    again = await run(world, resume=error.token)
    assert isinstance(again, ReleaseRejectedError)
    assert world.simulator.requests.count() == before


@pytest.mark.parametrize(("answer", "outcome"), [(True, "released"), (False, None)])
@virtual_time
async def test_a_held_release_is_resumed_with_a_decision(answer: bool, outcome: str | None) -> None:
    """``"hold"`` ends with the lock kept; the token is resumed with True or False, and requires one of them."""
    world = ReleaseWorld()
    held = await run(world, approve="hold")
    assert (held.outcome, held.ok, held.error) == ("held", True, None)
    assert world.simulator.image(501).lock == held.token.diff
    with pytest.raises(ConfigurationError, match="approve=True or approve=False"):
        await run(world, resume=held.token)
    assert (await run(world, resume=held.token, approve="hold")).outcome == "held"
    ended = await run(world, resume=str(held.token), approve=answer)
    assert outcome == getattr(ended, "outcome", None)
    assert world.runs_build() is answer
    assert max(world.calls().values()) == 1


@virtual_time
async def test_an_error_in_the_callback_keeps_the_lock() -> None:
    """A callback that raises ends the release with that error; the diff stays open and can be approved later."""
    world = ReleaseWorld()
    error = await run(world, approve=lambda _diff: 1 / 0)
    assert type(error) is ReleaseError
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert world.simulator.image(501).lock == error.token.diff
    assert (await run(world, resume=error.token)).outcome == "released"


@virtual_time
async def test_a_result_that_is_no_bool_is_an_error() -> None:
    """A callback that returns None neither approves nor rejects."""
    world = ReleaseWorld()
    error = await run(world, approve=lambda _diff: None)
    assert isinstance(error.__cause__, TypeError)
    assert world.calls() == {"image-update create": 1, "image-diff create": 1}


@virtual_time
async def test_an_empty_diff_is_not_asked_about() -> None:
    """For a diff without files, only ``on_empty`` decides."""
    asked = list[ImageDiffJob]()
    result = await run(ReleaseWorld(), approve=asked.append, options={"description": "no change"})
    assert result.outcome == "unchanged"
    assert asked == []
