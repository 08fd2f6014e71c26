"""JSON -> images, rollouts and installs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from attrs import evolve

from clanforge_async._codec.jobs import JOB_FIELDS, StatusParser
from clanforge_async._codec.objects import NOT_SENT, ObjectParser, json_field
from clanforge_async._codec.values import (
    is_no_id,
    optional,
    parse_bool,
    parse_count,
    parse_id,
    parse_int,
    parse_mapping,
    parse_optional_id,
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

# The classes have defaults, for values that a program creates. A field that the API always sends has no default, so
# this marks it as required.
_ABSENT = object()


def _parse_list(value: object) -> list[Mapping[str, Any]]:
    # Servers that do not distinguish lists from maps send an empty list as null or as a map.
    if value is None or value == {}:
        return []
    if isinstance(value, list):
        items = cast("list[object]", value)
        if all(isinstance(item, Mapping) for item in items):
            return cast("list[Mapping[str, Any]]", items)
    raise ValueError


def _by_id(id_field: str, parse: Callable[[Mapping[str, Any]], T]) -> Callable[[object], dict[int, T]]:
    return lambda value: {parse_id(item[id_field]): parse(item) for item in _parse_list(value)}


def _parse_name(value: object) -> str:
    return optional(parse_text)(value) or ""


def _parse_image_entry(item: Mapping[str, Any]) -> ImageEntry:
    version = optional(parse_int)(item.get("gameversionid"))
    return ImageEntry(id=parse_id(item["imageid"]), name=_parse_name(item.get("name")), game_version_id=version)


_OPTIONS = ObjectParser(
    ImageOptions,
    "list of image options",
    {
        **dict.fromkeys(("game_id", "image_id", "lock"), NOT_SENT),
        "update_url": json_field("update_url", optional(parse_text)),
        "games": json_field("games", _by_id("gameid", lambda item: _parse_name(item.get("name")))),
        "images": json_field("images", _by_id("imageid", _parse_image_entry)),
        "machines": json_field("machines", _by_id("machineid", lambda item: _parse_name(item.get("name")))),
    },
)


def parse_image_options(game_id: int | None, image_id: int | None, payload: Mapping[str, Any]) -> ImageOptions:
    """Parse the image options, and the lock of the requested image.

    Args:
        game_id: The requested game, if any.
        image_id: The requested image, if any.
        payload: The JSON object.
    """
    if image_id is None:
        return _OPTIONS.parse({"games": _ABSENT, **payload}, payload)
    options = _OPTIONS.parse({"games": _ABSENT, "images": _ABSENT, **payload}, payload)
    return evolve(options, game_id=game_id, image_id=image_id, lock=_parse_lock(payload))


def _parse_lock(payload: Mapping[str, Any]) -> JobRef | None:
    for name, kind in (("diffid", JobKind.IMAGE_DIFF), ("updateid", JobKind.IMAGE_UPDATE)):
        try:
            job_id = parse_optional_id(payload.get(name))
        except ValueError:
            msg = f"not a readable list of image options: {name} malformed"
            raise InvalidResponseError(msg, fields=(name,)) from None
        if job_id is not None:
            return JobRef(kind, job_id)
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
    """Parse an image, under ``image`` as in the documented example or flat as in the documented table of fields."""
    nested = payload.get("image")
    image = _IMAGE.parse(cast("Mapping[str, Any]", nested) if isinstance(nested, Mapping) else payload, payload)
    if image.id != image_id:
        msg = f"response about another image: imageid is {image.id}, not {image_id}"
        raise InvalidResponseError(msg, fields=("imageid",))
    return image


_COUNTS: Mapping[str, Any] = {
    "pending": json_field("pending_machines"),
    "failed": json_field("failed_machines"),
    "completed": json_field("completed_machines"),
}
_NO_COUNTS = {"pending_machines": _ABSENT, "completed_machines": _ABSENT}


def _parse_regions(value: object) -> dict[int, RegionRollout]:
    return {parse_id(key): _REGION.parse(_with_counts(region)) for key, region in parse_mapping(value).items()}


def _parse_fleets(value: object) -> dict[int, FleetRollout]:
    return {parse_id(key): _FLEET.parse(_with_counts(fleet)) for key, fleet in parse_mapping(value).items()}


def _with_counts(value: object) -> dict[str, Any]:
    counts = _NO_COUNTS | dict(parse_mapping(value))
    # The beta documentation of the call has no failed machines.
    return counts if counts.get("failed_machines") is not None else counts | {"failed_machines": 0}


_REGION = ObjectParser(RegionRollout, "region", {**_COUNTS, "name": json_field("name", _parse_name)})
_FLEET = ObjectParser(FleetRollout, "fleet", {**_COUNTS, "regions": json_field("regions", _parse_regions)})
_ROLLOUT = ObjectParser(ImageRollout, "rollout", {**_COUNTS, "fleets": json_field("fleets", _parse_fleets)})


def parse_image_rollout(payload: Mapping[str, Any]) -> ImageRollout:
    """Parse the numbers of machines in a rollout."""
    return _ROLLOUT.parse(_with_counts(payload), payload)


def _lenient(parse: Callable[[object], T]) -> Callable[[object], T | None]:
    # The types of these fields are undocumented, and no decision depends on them.
    return lambda value: None if value is None else parse_or_default(parse, value, None)


_INSTALL = StatusParser(
    ImageInstall,
    "install",
    "jobid",
    image_version_id=json_field("target_imageversionid", parse_optional_id),
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
        entries = _parse_list(payload.get("installs", _ABSENT))
    except ValueError:
        msg = "not a readable list of installs: installs missing or malformed"
        raise InvalidResponseError(msg, fields=("installs",)) from None
    installs: list[ImageInstall] = []
    names: list[str] = []
    for entry in entries:
        try:
            installs.append(_INSTALL.parse(entry))
        except InvalidResponseError as error:
            names += error.fields
    if names:
        fields = tuple(dict.fromkeys(names))
        msg = f"not a readable list of installs: {', '.join(fields)} missing or malformed"
        raise InvalidResponseError(msg, fields=fields)
    return installs


_REINSTALL = StatusParser(ReinstallJob, "reinstall job", "uninstalljobid")


def parse_diff_rejection(diff_id: int, payload: Mapping[str, Any]) -> DiffRejection:
    """Parse the rejection of a diff: its id, or the job that reinstalls the build machine."""
    reinstall = _REINSTALL.parse(payload) if not is_no_id(payload.get("uninstalljobid")) else None
    sent_id = payload.get("diffid")
    if parse_or_default(parse_int, sent_id, None) != diff_id and (reinstall is None or sent_id is not None):
        msg = f"not a readable rejection of image-diff {diff_id}: diffid and uninstalljobid missing, or another diffid"
        raise InvalidResponseError(msg, fields=("diffid", "uninstalljobid") if sent_id is None else ("diffid",))
    return DiffRejection(diff_id=diff_id, reinstall=reinstall)


_QUEUED = ObjectParser(
    QueuedInstall,
    "queued install",
    {
        **JOB_FIELDS,
        "mirror_id": json_field("versionmirrorid", parse_optional_id),
        "machine_job_id": json_field("machinejobid", parse_optional_id),
        "squashed": json_field("installs_squashed", parse_count),
    },
)


def parse_queued_install(payload: Mapping[str, Any]) -> QueuedInstall:
    """Parse the job of an install that was put in the queue, on a mirror or on a machine."""
    sent = {name: value for name, value in payload.items() if value is not None}
    queued = _QUEUED.parse({**sent, "state": (sent.get("jobstateid"), sent.get("jobstatename"))}, payload)
    if queued.id is None:
        ids = ("versionmirrorid", "machinejobid")
        msg = f"not a readable queued install: {' and '.join(ids)} missing"
        raise InvalidResponseError(msg, fields=ids)
    return queued
