"""JSON -> images, their rollout and their installs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from clanforge_async._codec.jobs import JOB_FIELDS, StatusParser
from clanforge_async._codec.objects import ObjectParser, json_field
from clanforge_async._codec.values import (
    optional,
    parse_bool,
    parse_count,
    parse_id,
    parse_int,
    parse_mapping,
    parse_or_default,
    parse_text,
    parse_time,
)
from clanforge_async.errors import InvalidResponseError
from clanforge_async.images import (
    DiffRejection,
    FleetRollout,
    Image,
    ImageEntry,
    ImageInstall,
    ImageOptions,
    ImageRollout,
    QueuedInstall,
    RegionRollout,
    ReinstallJob,
)
from clanforge_async.refs import JobKind, JobRef

T = TypeVar("T")


def _parse_list(value: object) -> list[Mapping[str, Any]]:
    # Servers that do not distinguish lists from maps send an empty list as a map.
    items = [] if value == {} else value
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise ValueError
    return cast("list[Mapping[str, Any]]", items)


def _by_id(id_field: str, parse: Callable[[Mapping[str, Any]], T]) -> Callable[[object], dict[int, T]]:
    return lambda value: {parse_id(item[id_field]): parse(item) for item in _parse_list(value)}


def _parse_name(item: Mapping[str, Any]) -> str:
    return optional(parse_text)(item.get("name")) or ""


def _parse_image_entry(item: Mapping[str, Any]) -> ImageEntry:
    version = optional(parse_int)(item.get("gameversionid"))
    return ImageEntry(id=parse_id(item["imageid"]), name=_parse_name(item), game_version_id=version)


_parse_games = _by_id("gameid", _parse_name)
_parse_images = _by_id("imageid", _parse_image_entry)
_parse_machines = _by_id("machineid", _parse_name)


def _parse_lock(kind_and_id: tuple[JobKind, object]) -> JobRef | None:
    kind, value = kind_and_id
    number = optional(parse_int)(value)
    return JobRef(kind, number) if number else None


_OPTIONS = ObjectParser(
    ImageOptions,
    "list of image options",
    {
        "lock": json_field("lock", lambda lock: lock),
        "update_url": json_field("update_url", optional(parse_text)),
        "games": json_field("games", _parse_games),
        "images": json_field("images", _parse_images),
        "machines": json_field("machines", lambda value: {} if value is None else _parse_machines(value)),
    },
)


def parse_image_options(game_id: int | None, image_id: int | None, payload: Mapping[str, Any]) -> ImageOptions:
    """Parse the image options, and the lock of the image that was asked for.

    Args:
        game_id: The game that was asked for, if any.
        image_id: The image that was asked for, if any.
        payload: The JSON object.
    """
    lock = _find_lock(payload) if image_id is not None else None
    known = {"game_id": game_id, "image_id": image_id, "lock": lock}
    required = {"games": None, "images": None}
    return _OPTIONS.parse({**required, **payload, **known}, payload)


def _find_lock(payload: Mapping[str, Any]) -> JobRef | None:
    for name, kind in (("diffid", JobKind.IMAGE_DIFF), ("updateid", JobKind.IMAGE_UPDATE)):
        try:
            lock = _parse_lock((kind, payload.get(name)))
        except ValueError:
            msg = f"not a readable list of image options: {name} malformed"
            raise InvalidResponseError(msg, fields=(name,)) from None
        if lock is not None:
            return lock
    return None


_IMAGE = ObjectParser(
    Image,
    "image",
    {
        "id": json_field("imageid", parse_id),
        "active": json_field("active", parse_bool),
        "game_version_id": json_field("gameversionid", optional(parse_int)),
        "latest_version_id": json_field("latestversionid", optional(parse_int)),
        "path": json_field("path", optional(parse_text)),
        "created_by": json_field("created_by", optional(parse_int)),
        "updated_by": json_field("updated_by", optional(parse_int)),
        "created_at": json_field("created_at", optional(parse_text)),
        "updated_at": json_field("updated_at", optional(parse_text)),
    },
)


def parse_image(image_id: int, payload: Mapping[str, Any]) -> Image:
    """Parse the record of an image, under ``image`` as in the example or flat as in the table of fields."""
    nested = payload.get("image")
    image = _IMAGE.parse(cast("Mapping[str, Any]", nested) if isinstance(nested, Mapping) else payload, payload)
    if image.id != image_id:
        msg = f"a response about another image: imageid is {image.id}, not {image_id}"
        raise InvalidResponseError(msg, fields=("imageid",))
    return image


_COUNTS: Mapping[str, Any] = {
    "pending": json_field("pending_machines"),
    "failed": json_field("failed_machines"),
    "completed": json_field("completed_machines"),
}
# The beta page of the call lacks the failed machines.
_NO_FAILURES = {"failed_machines": 0}


def _parse_regions(value: object) -> dict[int, RegionRollout]:
    return {parse_id(key): _REGION.parse(_NO_FAILURES | dict(item)) for key, item in parse_mapping(value).items()}


def _parse_fleets(value: object) -> dict[int, FleetRollout]:
    return {
        parse_id(key): _FLEET.parse({"regions": None, **_NO_FAILURES, **item})
        for key, item in parse_mapping(value).items()
    }


_REGION = ObjectParser(RegionRollout, "region", {**_COUNTS, "name": json_field("name", parse_text)})
_FLEET = ObjectParser(FleetRollout, "fleet", {**_COUNTS, "regions": json_field("regions", _parse_regions)})
_ROLLOUT = ObjectParser(ImageRollout, "rollout", {**_COUNTS, "fleets": json_field("fleets", _parse_fleets)})


def parse_image_rollout(payload: Mapping[str, Any]) -> ImageRollout:
    """Parse the numbers of machines in a rollout."""
    return _ROLLOUT.parse({"fleets": None, **_NO_FAILURES, **payload}, payload)


def _lenient(parse: Callable[[object], T]) -> Callable[[object], T | None]:
    # The types of these fields are not documented, and none of them decides anything.
    return lambda value: None if value is None else parse_or_default(parse, value, None)


_INSTALL = StatusParser(
    ImageInstall,
    "install",
    "jobid",
    image_version_id=json_field("target_imageversionid", _lenient(parse_id)),
    mirroring=json_field("mirroring", _lenient(parse_bool)),
    restart=json_field("restart", _lenient(parse_bool)),
    location=json_field("location", _lenient(parse_text)),
    machine=json_field("machine", _lenient(parse_text)),
    mirror=json_field("mirror", _lenient(parse_text)),
    image_path=json_field("imagepath", _lenient(parse_text)),
    install_at=json_field("install_at", _lenient(parse_time)),
)


def parse_image_installs(payload: Mapping[str, Any]) -> list[ImageInstall]:
    """Parse the account's incomplete installs."""
    try:
        entries = _parse_list(payload.get("installs"))
    except ValueError:
        msg = "not a readable list of installs: installs missing or malformed"
        raise InvalidResponseError(msg, fields=("installs",)) from None
    return [_INSTALL.parse(entry) for entry in entries]


_REINSTALL = StatusParser(ReinstallJob, "reinstall job", "uninstalljobid")


def parse_diff_rejection(diff_id: int, payload: Mapping[str, Any]) -> DiffRejection:
    """Parse the rejection of a diff: its id, or the job that reinstalls the build machine."""
    rejected = parse_or_default(parse_int, payload.get("diffid"), None)
    if rejected not in (None, diff_id):
        msg = f"a response about another image-diff job: diffid is {rejected}, not {diff_id}"
        raise InvalidResponseError(msg, fields=("diffid",))
    reinstall = None if payload.get("uninstalljobid") is None else _REINSTALL.parse(payload)
    return DiffRejection(diff_id=diff_id, reinstall=reinstall)


_QUEUED = ObjectParser(
    QueuedInstall,
    "queued install",
    {
        **JOB_FIELDS,
        "mirror_id": json_field("versionmirrorid", parse_id),
        "machine_job_id": json_field("machinejobid", parse_id),
        "squashed": json_field("installs_squashed", parse_count),
    },
)
_QUEUED_IDS = ("versionmirrorid", "machinejobid")


def parse_queued_install(payload: Mapping[str, Any]) -> QueuedInstall:
    """Parse the job of an install that was put in the queue, on a mirror or on a machine."""
    sent = {name: value for name, value in payload.items() if value is not None}
    if not sent.keys() & set(_QUEUED_IDS):
        msg = f"not a readable queued install: {' and '.join(_QUEUED_IDS)} missing"
        raise InvalidResponseError(msg, fields=_QUEUED_IDS)
    return _QUEUED.parse({**sent, "state": (sent.get("jobstateid"), sent.get("jobstatename"))}, payload)
