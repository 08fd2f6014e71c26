"""Journals, which store the tokens of releases."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import Any

import pytest
from support.release_worlds import ReleaseWorld, release
from support.virtual_time import virtual_time

from clanforge_async import (
    ImageRelease,
    JobRef,
    ReleaseError,
    Releaser,
    ReleaseStep,
    ReleaseToken,
    StragglerPolicy,
)
from clanforge_async.releases.journal import FileJournal, read_journal
from clanforge_async.resources.sources import S3Source


@pytest.mark.parametrize("is_async", [False, True])
@virtual_time
async def test_the_journal_is_written_before_and_after_each_call(is_async: bool) -> None:
    """A function gets each token: before a call with its intent, after it with its result."""
    world = ReleaseWorld()
    kept = list[tuple[str, dict[str, int]]]()

    def keep(token: ReleaseToken) -> None:
        kept.append((str(token).rpartition(":")[2].rpartition(",")[2], world.calls()))

    async def keep_slowly(token: ReleaseToken) -> None:
        await asyncio.sleep(0.001)
        keep(token)

    async with world.client() as client, Releaser(client, journal=keep_slowly if is_async else keep) as releaser:
        await releaser.run(release(wait_for="version"))
    update, diff = {"image-update create": 1}, {"image-update create": 1, "image-diff create": 1}
    expected = [{}, update, update, diff, diff, diff, diff | {"image-version create": 1}]
    assert [calls for _, calls in kept][:7] == expected
    texts = [text for text, _ in kept]
    assert texts[0].startswith("update=~1763769600")
    assert texts[1].startswith("update=2")
    assert texts[2].startswith("diff=~")
    assert texts[4] == "approved"
    assert texts[5].startswith("version=~")


@pytest.mark.parametrize(
    ("fails_at", "step", "calls"), [(2, ReleaseStep.UPDATE, 0), (3, ReleaseStep.UPDATE, 1), (4, ReleaseStep.DIFF, 1)]
)
@virtual_time
async def test_a_journal_that_fails_stops_the_release(fails_at: int, step: ReleaseStep, calls: int) -> None:
    """If the journal cannot be written, the call is not sent; after a response, the error's token still has it."""
    world = ReleaseWorld()
    kept = list[ReleaseToken]()

    def keep(token: ReleaseToken) -> None:
        kept.append(token)
        if len(kept) == fails_at:
            msg = "the disk is full"
            raise OSError(msg)

    async with world.client() as client, Releaser(client, journal=keep) as releaser:
        with pytest.raises(ReleaseError, match="the disk is full") as raised:
            await releaser.run(release())
        assert isinstance(raised.value.__cause__, OSError)
        assert raised.value.step is step
        assert sum(world.calls().values()) == calls
        result = await releaser.run(release(), resume=raised.value.token)
    assert result.outcome == "released"
    assert max(world.calls().values()) == 1


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


RELEASE = ImageRelease(
    501,
    77,
    "build 2",
    S3Source("bucket", "builds", "AKIA-secret", "hush-hush"),
    game_build="2.0",
    straggler_policy=StragglerPolicy(minutes=90, percentage=95.0),
    install_at=datetime(2026, 1, 2, 3, tzinfo=UTC),
)
TOKEN = ReleaseToken(image_id=501, machine_id=77, plan=RELEASE.digest)


async def test_a_file_is_readable_and_holds_no_secret(tmp_path: Path) -> None:
    """A journal's file is indented JSON with the token and the options, but without the keys of the source."""
    path = tmp_path / "journal.json"
    await FileJournal(str(path)).save(TOKEN, RELEASE)
    text = path.read_text()
    assert "AKIA" not in text
    assert "hush" not in text
    (entry,) = json.loads(text)["releases"]
    assert entry["token"] == str(TOKEN)
    assert entry["options"]["description"] == "build 2"
    assert entry["options"]["source"] == "s3://***@bucket/builds/"
    assert files_in(tmp_path) == [path]


async def test_a_file_reads_back_as_the_release(tmp_path: Path) -> None:
    """The options in a file give the same release, except for the secrets."""
    path = tmp_path / "journal.json"
    await FileJournal(str(path)).save(TOKEN, RELEASE)
    (entry,) = read_journal(path)
    again = ImageRelease(**entry.options)
    assert entry.token == TOKEN
    assert again.digest == RELEASE.digest
    assert again.straggler_policy == RELEASE.straggler_policy
    assert again.install_at == RELEASE.install_at
    plain = release()
    await FileJournal(str(path)).save(TOKEN, plain)
    assert ImageRelease(**read_journal(path)[0].options).digest == plain.digest


@pytest.mark.parametrize("is_new", [False, True])
async def test_a_folder_has_a_file_for_each_image(tmp_path: Path, is_new: bool) -> None:
    """In a folder that exists, or a path that ends in a slash, each image has a file with its latest token."""
    folder = tmp_path / "new" if is_new else tmp_path
    journal = FileJournal(f"{folder}/" if is_new else str(folder))
    other = ReleaseToken(image_id=502, machine_id=77, plan=RELEASE.digest)
    later = ReleaseToken(image_id=501, machine_id=77, plan=RELEASE.digest, update=JobRef.image_update(5))
    await journal.save(TOKEN, RELEASE)
    await journal.save(other, release(502))
    await journal.save(later, None)
    assert sorted(path.name for path in folder.iterdir()) == ["image-501.json", "image-502.json"]
    assert [entry.token for entry in read_journal(folder)] == [later, other]
    assert read_journal(folder)[0].options["game_build"] == "2.0"


async def test_a_file_can_hold_several_releases(tmp_path: Path) -> None:
    """Releases of several images that share a file do not overwrite each other."""
    path = tmp_path / "journal.json"
    other = ReleaseToken(image_id=502, machine_id=77, plan=RELEASE.digest)
    await FileJournal(str(path)).save(other, None)
    await FileJournal(str(path)).save(TOKEN, RELEASE)
    assert [entry.token for entry in read_journal(path)] == [TOKEN, other]


UNDER_WAY = ReleaseToken(image_id=501, machine_id=77, plan=RELEASE.digest, update=JobRef.image_update(5))
REJECTED = ReleaseToken.parse(f"{TOKEN}diff=5,empty,rejected")
ENDED = ReleaseToken.parse(f"{TOKEN}diff=5,approved,version=6,ended=7")


@pytest.mark.parametrize(("old", "stays"), [(None, False), (UNDER_WAY, True), (REJECTED, False), (ENDED, False)])
async def test_a_release_that_waits_is_in_the_file(tmp_path: Path, old: ReleaseToken | None, stays: bool) -> None:
    """A waiting release is recorded at once, unless an earlier one of its image can be resumed."""
    journal = FileJournal(str(tmp_path))
    if old is not None:
        await journal.save(old, RELEASE)
    await journal.begin(TOKEN, RELEASE)
    assert [entry.token for entry in read_journal(tmp_path)] == [old if stays else TOKEN]


@virtual_time
async def test_a_file_that_is_no_journal_ends_a_release_at_once() -> None:
    """A journal that cannot be read ends the release before any request."""
    world = ReleaseWorld()
    with NamedTemporaryFile() as file:
        async with world.client() as client, Releaser(client, journal=file.name) as releaser:
            with pytest.raises(ReleaseError, match="is not a journal of releases"):
                await releaser.run(release())
    assert world.simulator.requests.count() == 0


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"releases": [{}]}', '{"releases": [{"token": "x", "options": {}}]}', '{"releases": 5}']
)
async def test_another_file_is_no_journal(tmp_path: Path, text: str) -> None:
    """A file that is not a journal is neither read nor overwritten."""
    path = tmp_path / "notes.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match="is not a journal of releases"):
        read_journal(path)
    with pytest.raises(ValueError, match="is not a journal of releases"):
        await FileJournal(str(path)).save(TOKEN, RELEASE)
    assert path.read_text() == text


async def test_a_file_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the new file cannot be written, the old one is unchanged, and no temporary file is left."""
    path = tmp_path / "journal.json"
    await FileJournal(str(path)).save(TOKEN, RELEASE)
    before = path.read_text()

    def fail(*_args: Any) -> None:
        msg = "no space left"
        raise OSError(msg)

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        await FileJournal(str(path)).save(TOKEN, RELEASE)
    assert path.read_text() == before
    assert files_in(tmp_path) == [path]


@virtual_time
async def test_a_release_keeps_its_token_in_a_folder() -> None:
    """A path is a journal as well."""
    with TemporaryDirectory() as folder:
        async with ReleaseWorld().client() as client, Releaser(client, journal=Path(folder)) as releaser:
            result = await releaser.run(release())
        (entry,) = read_journal(folder)
        assert entry.token == result.token
