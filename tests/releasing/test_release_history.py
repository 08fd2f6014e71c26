"""A releaser's history: the durations of earlier jobs, by image and step."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.cli.harness import OverrideFields
from support.release_worlds import ReleaseWorld, release
from support.virtual_time import virtual_time

from clanforge_async import ConfigurationError, JobHistory, JobState, JobWatcher, Releaser
from clanforge_async.simulator import Run


@virtual_time
async def test_a_watcher_has_its_own_history() -> None:
    """A history is for the watcher that the releaser creates; together with another watcher, it is refused."""
    async with ReleaseWorld().client() as client, JobWatcher(client) as watcher:
        with pytest.raises(ConfigurationError, match="has its own history"):
            Releaser(client, watcher=watcher, history=JobHistory())


@pytest.mark.parametrize("name", [None, "history.jsonl"])
@virtual_time
async def test_a_history_learns_from_releases(name: str | None, tmp_path: Path) -> None:
    """A history gets each job under its image and step, in memory or in a file; other watchers' labels are kept."""
    history = JobHistory(None if name is None else tmp_path / name)
    history.add("image-501/diff", 9.0, JobState.COMPLETED)
    async with ReleaseWorld().client() as client, Releaser(client, history=history) as releaser:
        results = await releaser.run_all([release(image, wait_for="version") for image in (501, 502)])
        assert [result.outcome for result in results] == ["released", "released"]
        version = results[0].token.version
        assert version is not None
        async with JobWatcher(client, history=history) as watcher:
            await watcher.wait(version)
    for image in (501, 502):
        for step in ("update", "diff", "version"):
            durations = history.durations(f"image-{image}/{step}")
            assert len(durations) == (2 if (image, step) == (501, "diff") else 1)
            assert min(durations) > 0
    assert len(history.durations("image-version")) == 1
    assert not history.durations("image-update")


@virtual_time
async def test_a_release_is_polled_by_the_history_of_its_image() -> None:
    """Durations of the same image and step determine the polls; those of another image don't."""

    async def polls(label: str) -> int:
        world, history = ReleaseWorld(), JobHistory()
        for _ in range(5):
            history.add(label, 1800.0, JobState.COMPLETED)
        world.simulator.faults.add(OverrideFields({"jobprogress": 0, "jobeta": None}), route="image-update status")
        world.simulator.script("update", Run(duration=1800))
        async with world.client() as client, Releaser(client, history=history) as releaser:
            assert (await releaser.run(release(wait_for="version"))).ok
        return world.simulator.requests.count("image-update status")

    assert await polls("image-501/update") < await polls("image-502/update") == await polls("image-update")


@virtual_time
async def test_an_assigned_label_stays() -> None:
    """A history with its own label function keeps it; anything that is not a history is refused."""
    history = JobHistory()
    history.label = lambda ref: f"mine/{ref.kind}"
    async with ReleaseWorld().client() as client:
        async with Releaser(client, history=history) as releaser:
            assert (await releaser.run(release(wait_for="version"))).ok
        with pytest.raises(ConfigurationError, match="JobHistory"):
            Releaser(client, history="history.jsonl")  # type: ignore[arg-type]
    assert all(len(history.durations(f"mine/image-{step}")) == 1 for step in ("update", "diff", "version"))
