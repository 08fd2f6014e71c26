"""The command-line guide explains every field that the image commands write with ``--json``."""

from __future__ import annotations

import json
import re

import pytest
from support.documents import Document

from clanforge_async import (
    DiffRejection,
    Image,
    ImageInstall,
    ImageOptions,
    ImageRollout,
    JobState,
    QueuedInstall,
)
from clanforge_async.cli.output import images as output
from clanforge_async.cli.output.select import OutputOptions
from clanforge_async.refs import EPOCH

GUIDE = Document("docs/cli.md").text
INSTALL = ImageInstall(id=7, state=JobState.PENDING, created_at=EPOCH, updated_at=EPOCH)
IMAGE = Image(
    id=501,
    active=True,
    game_version_id=None,
    latest_version_id=None,
    path=None,
    created_by=None,
    updated_by=None,
    created_at=None,
    updated_at=None,
)


def explained_fields(event: str) -> set[str]:
    """Return the fields of an event in the guide's table, without ``regions``, which are part of a fleet."""
    [cells] = [line.split("|") for line in GUIDE.splitlines() if line.startswith(f"| {event} |")]
    names = set(re.findall(r"`(\w+)`", cells[3])) - {"regions"}
    if "the fields of a job" in cells[3]:
        sentence = GUIDE.partition("The fields of a job are")[2].partition("\n\n")[0]
        names |= set(re.findall(r"`(\w+)`", sentence))
    return names


def test_every_field_of_a_record_about_images_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """Each event of the image commands has a row with exactly its fields."""
    as_json = OutputOptions(as_json=True)
    output.show_options(ImageOptions(), as_json)
    output.show_rollout(501, ImageRollout(), as_json)
    output.show_image(IMAGE, as_json)
    output.show_rejection(DiffRejection(diff_id=5), as_json, reinstall=False)
    output.show_installs([INSTALL], as_json)
    output.show_queued(7, QueuedInstall(), as_json)
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {record["event"]: record.keys() - {"event"} for record in records} == {
        event: explained_fields(event) for event in ("options", "rollout", "image", "rejected", "install", "queued")
    }
