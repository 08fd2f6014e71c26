"""The plan of a release: a dry run that only reads."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TypeVar

from clanforge_async.errors import ClanforgeError
from clanforge_async.releases.actions import Services
from clanforge_async.releases.recording import machine_problem
from clanforge_async.releases.release import ImageRelease, ReleaseStep, mask_source
from clanforge_async.releases.results import ReleaseError, ReleasePlan
from clanforge_async.releases.state import make_lock_error
from clanforge_async.releases.token import ReleaseToken

T = TypeVar("T")


async def make_plan(services: Services, release: ImageRelease, token: ReleaseToken) -> ReleasePlan:
    """Read the options, the rollout and the lock, and return the plan.

    Args:
        services: Services shared by all releases of a releaser.
        release: The release.
        token: The state of the release before it starts.
    """
    problems: list[ClanforgeError] = []
    options = await _read(services.client.images.options(release.image_id), problems)
    rollout = None
    if release.wait_for == "rollout":
        rollout = await _read(services.client.images.rollout(release.image_id), problems)
        await _read(services.installs.read(), problems)
    lock = None if options is None else options.lock
    problem = None if options is None else machine_problem(options, release.machine_id)
    if problem is not None:
        problems.append(ReleaseError(problem, step=ReleaseStep.CHECK, token=token))
    if lock is not None:
        problems.append(make_lock_error(release.image_id, lock))
    return ReleasePlan(
        image_id=release.image_id,
        options=options,
        rollout=rollout,
        lock=lock,
        steps=_calls_of(release),
        problems=tuple(problems),
    )


async def _read(reading: Awaitable[T], problems: list[ClanforgeError]) -> T | None:
    try:
        return await reading
    except ClanforgeError as error:
        problems.append(error)
        return None


def _calls_of(release: ImageRelease) -> Sequence[str]:
    image_and_machine = f"{release.image_id}, {release.machine_id}"
    source = "" if release.source is None else f", source={mask_source(release.source)!r}"
    update = f"image_updates.create({image_and_machine}, {release.description!r}{source})"
    given = {
        "restart": release.restart,
        "full": release.full,
        "force": release.force,
        "game_build": release.game_build,
        "install_at": None if release.install_at is None else str(release.install_at),
        "straggler_policy": release.straggler_policy,
    }
    options = ", ".join(f"{name}={value!r}" for name, value in given.items())
    calls = (f"image_diffs.create({image_and_machine})", f"image_versions.create(DIFF, {options})")
    return (update, *calls) if release.first_step == "update" else calls
