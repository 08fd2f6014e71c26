"""Properties of responses that are not jobs: valid ones survive a round trip, errors of others name their fields."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from properties.test_codec_properties import COMMON, EPOCH, JSON, MOMENTS, states

from clanforge_async import (
    DiffRejection,
    FleetRollout,
    Image,
    ImageEntry,
    ImageInstall,
    ImageOptions,
    ImageRollout,
    InvalidResponseError,
    JobKind,
    JobRef,
    QueuedInstall,
    RegionRollout,
    ReinstallJob,
)
from clanforge_async._codec.images import (
    parse_diff_rejection,
    parse_image,
    parse_image_installs,
    parse_image_options,
    parse_image_rollout,
    parse_queued_install,
)
from clanforge_async.jobs import JobStatus

LENIENT = settings(deadline=None, max_examples=40)
IDS = st.integers(min_value=1)
COUNTS = st.integers(min_value=0)
TEXTS = st.text(min_size=1).filter(str.strip)
OPTIONAL_TEXTS = st.none() | TEXTS
NAMES = st.just("") | TEXTS


def seconds(moment: Any) -> int | None:
    """Return the Unix second of a time."""
    return None if moment is None else (moment - EPOCH) // timedelta(seconds=1)


def job_fields(job: JobStatus | QueuedInstall) -> dict[str, Any]:
    """Write the fields that all jobs share."""
    started = seconds(job.started_at)
    return {
        "jobstateid": job.state_id,
        "jobstatename": job.state_name,
        "jobcreated": seconds(job.created_at),
        "jobupdated": seconds(job.updated_at),
        "jobstart": None if started is None else str(started),
        "jobeta": seconds(job.eta),
        "jobprogress": job.progress,
        "jobfailed": job.failure_count,
        "joberror": job.error,
    }


# Options


@st.composite
def options(draw: st.DrawFn) -> ImageOptions:
    """Draw the options of an image."""
    entries = st.builds(ImageEntry, id=IDS, name=NAMES, game_version_id=st.none() | IDS)
    return ImageOptions(
        game_id=draw(IDS),
        image_id=draw(IDS),
        lock=draw(st.none() | st.builds(JobRef, st.sampled_from([JobKind.IMAGE_DIFF, JobKind.IMAGE_UPDATE]), IDS)),
        update_url=draw(OPTIONAL_TEXTS),
        games=draw(st.dictionaries(IDS, NAMES, max_size=3)),
        images={entry.id: entry for entry in draw(st.lists(entries, max_size=3))},
        machines=draw(st.dictionaries(IDS, NAMES, max_size=3)),
    )


def options_to_dict(value: ImageOptions) -> dict[str, Any]:
    """Write options as the API does, with the game version as text."""
    sent: dict[str, Any] = {
        "update_url": value.update_url,
        "games": [{"gameid": key, "name": name} for key, name in value.games.items()],
        "images": [
            {
                "imageid": entry.id,
                "name": entry.name,
                "gameversionid": "" if entry.game_version_id is None else str(entry.game_version_id),
            }
            for entry in value.images.values()
        ],
        "machines": [{"machineid": key, "name": name} for key, name in value.machines.items()],
    }
    if value.lock is not None:
        sent["diffid" if value.lock.kind is JobKind.IMAGE_DIFF else "updateid"] = value.lock.id
    return sent


@LENIENT
@given(options())
def test_options_survive_a_round_trip(value: ImageOptions) -> None:
    """Options, with lock and source, are parsed as they were written."""
    assert parse_image_options(value.game_id, value.image_id, options_to_dict(value)) == value


# Images

IMAGES = st.builds(
    Image,
    id=IDS,
    active=st.booleans(),
    game_version_id=st.none() | IDS,
    latest_version_id=st.none() | IDS,
    path=OPTIONAL_TEXTS,
    created_by=st.none() | IDS,
    updated_by=st.none() | IDS,
    created_at=OPTIONAL_TEXTS,
    updated_at=OPTIONAL_TEXTS,
)


def image_to_dict(image: Image) -> dict[str, Any]:
    """Write an image as the API does."""
    return {
        "imageid": image.id,
        "active": int(image.active),
        "gameversionid": image.game_version_id,
        "latestversionid": image.latest_version_id,
        "path": image.path,
        "created_by": image.created_by,
        "updated_by": image.updated_by,
        "created_at": image.created_at,
        "updated_at": image.updated_at,
    }


@LENIENT
@given(IMAGES, st.booleans(), st.booleans())
def test_an_image_survives_a_round_trip(image: Image, nested: bool, sparse: bool) -> None:
    """An image is parsed under ``image`` and flat, with and without nulls."""
    sent = image_to_dict(image)
    if sparse:
        sent = {name: value for name, value in sent.items() if value is not None}
    assert parse_image(image.id, {"image": sent} if nested else sent) == image


# Rollouts

NUMBERS = {"pending": COUNTS, "failed": COUNTS, "completed": COUNTS}
REGIONS = st.builds(RegionRollout, name=NAMES, **NUMBERS)
FLEETS = st.builds(FleetRollout, regions=st.dictionaries(IDS, REGIONS, max_size=2), **NUMBERS)
ROLLOUTS = st.builds(ImageRollout, fleets=st.dictionaries(IDS, FLEETS, max_size=2), **NUMBERS)


def rollout_to_dict(value: Any, empty: Any, *, beta: bool) -> dict[str, Any]:
    """Write a rollout, a fleet or a region.

    Args:
        value: The rollout.
        empty: How an empty map is written.
        beta: Whether to leave 0 failed machines out, as the beta page does.
    """
    sent: dict[str, Any] = {"pending_machines": value.pending, "completed_machines": value.completed}
    if value.failed or not beta:
        sent["failed_machines"] = value.failed
    for name in ("fleets", "regions"):
        children = getattr(value, name, None)
        if children is not None:
            sent[name] = {
                str(key): rollout_to_dict(child, empty, beta=beta) for key, child in children.items()
            } or empty
    return sent | ({"name": value.name} if isinstance(value, RegionRollout) else {})


@LENIENT
@given(ROLLOUTS, st.sampled_from([{}, [], None]), st.booleans())
def test_a_rollout_survives_a_round_trip(rollout: ImageRollout, empty: Any, beta: bool) -> None:
    """A rollout is parsed with and without failed machines, and with empty maps in each form."""
    assert parse_image_rollout(rollout_to_dict(rollout, empty, beta=beta)) == rollout


# Installs

INSTALLS = st.builds(
    lambda state, **fields: ImageInstall(**state, **fields),
    state=states(),
    image_version_id=st.none() | IDS,
    mirroring=st.none() | st.booleans(),
    restart=st.none() | st.booleans(),
    location=st.none() | st.text(),
    machine=st.none() | st.text(),
    mirror=st.none() | st.text(),
    image_path=st.none() | st.text(),
    install_at=st.none() | MOMENTS,
    **COMMON,
)


def install_to_dict(install: ImageInstall) -> dict[str, Any]:
    """Write an entry of the list of installs."""
    return job_fields(install) | {
        "jobid": install.id,
        "mirroring": install.mirroring,
        "restart": install.restart,
        "location": install.location,
        "machine": install.machine,
        "mirror": install.mirror,
        "imagepath": install.image_path,
        "install_at": seconds(install.install_at),
        "target_imageversionid": install.image_version_id,
    }


@LENIENT
@given(st.lists(INSTALLS, max_size=3), JSON)
def test_installs_survive_a_round_trip_with_duplicate_keys(installs: list[ImageInstall], first: Any) -> None:
    """If an entry has a key twice in the JSON text, the last one is used, whatever the first is."""
    texts = [json.dumps(install_to_dict(install)) for install in installs]
    doubled = [text.replace("{", f'{{"restart": {json.dumps(first)}, ', 1) for text in texts]
    assert parse_image_installs(json.loads(f'{{"installs": [{", ".join(doubled)}]}}')) == installs


# Rejections and queued installs

REINSTALLS = st.builds(lambda state, **fields: ReinstallJob(**state, **fields), state=states(), **COMMON)
QUEUED = st.builds(
    lambda state, **fields: QueuedInstall(**state, **fields),
    state=states(),
    squashed=st.none() | COUNTS,
    **{name: values for name, values in COMMON.items() if name != "id"},
)


@LENIENT
@given(IDS, st.none() | REINSTALLS, st.booleans())
def test_a_rejection_survives_a_round_trip(diff_id: int, reinstall: ReinstallJob | None, with_id: bool) -> None:
    """Both forms of a rejection are parsed, the second with or without the diff's id."""
    sent: dict[str, Any] = {"diffid": diff_id} if with_id or reinstall is None else {}
    if reinstall is not None:
        sent |= {"uninstalljobid": reinstall.id} | job_fields(reinstall)
    assert parse_diff_rejection(diff_id, sent) == DiffRejection(diff_id=diff_id, reinstall=reinstall)


@LENIENT
@given(QUEUED, IDS, st.sampled_from(["versionmirrorid", "machinejobid"]))
def test_a_queued_install_survives_a_round_trip(queued: QueuedInstall, job_id: int, id_field: str) -> None:
    """Both forms of the response are parsed."""
    parsed = parse_queued_install({id_field: job_id, "installs_squashed": queued.squashed} | job_fields(queued))
    assert parsed.id == job_id
    assert (parsed.mirror_id is None) is (id_field == "machinejobid")
    assert (parsed.squashed, parsed.state, parsed.state_name) == (queued.squashed, queued.state, queued.state_name)
    assert (parsed.created_at, parsed.eta, parsed.error) == (queued.created_at, queued.eta, queued.error)


# Junk

PARSERS: dict[str, Callable[[Mapping[str, Any]], object]] = {
    "options": partial(parse_image_options, 12, 501),
    "games": partial(parse_image_options, None, None),
    "image": partial(parse_image, 501),
    "rollout": parse_image_rollout,
    "installs": parse_image_installs,
    "rejection": partial(parse_diff_rejection, 5),
    "queued install": parse_queued_install,
}
KEYS = [
    *("diffid", "updateid", "update_url", "games", "images", "machines", "gameid", "imageid", "machineid", "name"),
    *("gameversionid", "image", "active", "latestversionid", "path", "pending_machines", "failed_machines", "lock"),
    *("completed_machines", "fleets", "regions", "installs", "jobid", "uninstalljobid", "machinejobid", "state", "id"),
    *("versionmirrorid", "installs_squashed", "jobcreated", "jobupdated", "jobstateid", "jobstatename", "jobprogress"),
    *("jobfailed", "joberror", "jobeta", "jobstart", "target_imageversionid", "mirroring", "restart", "install_at"),
]
VALUES = st.recursive(
    JSON | st.sampled_from([0, 1, 5, 501, "5", "", -1, True, float("inf"), 10**400]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from([*KEYS, "5", "x"]), inner, max_size=6),
    max_leaves=8,
)
JUNK = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=12)


def fields_at_fault(name: str, junk: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the fields that a parser reports; None if it parses the object."""
    try:
        PARSERS[name](junk)
    except InvalidResponseError as error:
        return error.fields
    return None


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(PARSERS)), JUNK)
def test_junk_is_read_or_names_its_fields(name: str, junk: dict[str, Any]) -> None:
    """Any object is either parsed or refused with the names of its fields; parsers raise no other exception."""
    fields = fields_at_fault(name, junk)
    assert fields is None or (fields and set(fields) <= set(KEYS))
