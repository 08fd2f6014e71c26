"""The calls of the image pipeline as users would write them: checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import assert_type

from clanforge_async import (
    ClanforgeClient,
    DiffRejection,
    FleetRollout,
    GoogleSource,
    Image,
    ImageDiffJob,
    ImageEntry,
    ImageInstall,
    ImageOptions,
    ImageRollout,
    ImageUpdateJob,
    ImageVersionJob,
    JobRef,
    JobState,
    QueuedInstall,
    RegionRollout,
    ReinstallJob,
    S3Source,
    SteamSource,
    StragglerPolicy,
)


async def calls(client: ClanforgeClient, source: S3Source | SteamSource | GoogleSource | str, at: datetime) -> None:
    """Make every call of the image pipeline."""
    assert_type(await client.images.options(), ImageOptions)
    assert_type(await client.images.options(501, game_id=12, game_version_id=88), ImageOptions)
    assert_type(await client.images.set_active(501, active=True), Image)
    assert_type(await client.images.rollout(501, include_details=True), ImageRollout)
    assert_type(await client.image_updates.create(501, 77, "build 1"), ImageUpdateJob)
    assert_type(await client.image_updates.create(501, 77, "build 1", source=source), ImageUpdateJob)
    assert_type(await client.image_diffs.create(501, 77), ImageDiffJob)
    assert_type(await client.image_diffs.reject(5, reinstall=True, image_id=501), DiffRejection)
    assert_type(await client.image_versions.create(5, restart=False), ImageVersionJob)
    policy = StragglerPolicy(minutes=90, percentage=95)
    version = await client.image_versions.create(
        5,
        restart=True,
        full=True,
        force=True,
        game_build="1.2",
        install_at=at,
        straggler_policy=policy,
        image_id=501,
    )
    assert_type(version, ImageVersionJob)
    assert_type(await client.image_versions.create(5, restart=True, install_at=None), ImageVersionJob)
    installs = await client.image_installs.list(image_version_id=version.id)
    assert_type(installs, list[ImageInstall])
    assert_type(await client.image_installs.queue(installs[0]), QueuedInstall)


def answers(
    options: ImageOptions, rollout: ImageRollout, install: ImageInstall, queued: QueuedInstall, rejection: DiffRejection
) -> None:
    """Read the responses that are not jobs."""
    assert_type((options.game_id, options.image_id), tuple[int | None, int | None])
    assert_type((options.lock, options.update_url), tuple[JobRef | None, str | None])
    assert_type(options.games, Mapping[int, str])
    assert_type(options.images, Mapping[int, ImageEntry])
    assert_type(options.machines, Mapping[int, str])
    assert_type((rollout.pending, rollout.failed, rollout.completed, rollout.total), tuple[int, int, int, int])
    assert_type(rollout.fleets, Mapping[int, FleetRollout])
    assert_type(rollout.fleets[1].regions, Mapping[int, RegionRollout])
    assert_type(rollout.fleets[1].regions[2].name, str)
    assert_type((install.id, install.state, install.is_terminal), tuple[int, JobState | None, bool])
    assert_type((install.image_version_id, install.mirroring), tuple[int | None, bool | None])
    assert_type(install.install_at, datetime | None)
    assert_type((queued.mirror_id, queued.machine_job_id, queued.squashed), tuple[int | None, int | None, int | None])
    assert_type((queued.state, queued.updated_at), tuple[JobState | None, datetime | None])
    assert_type((rejection.diff_id, rejection.reinstall), tuple[int, ReinstallJob | None])
