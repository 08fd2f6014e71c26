"""JSON <-> jobs.

The server omits fields, adds others, and calls state 5 both `Completed` and `Complete`. A wrongly guessed job is worse
than an error, so a job is parsed only if its meaning is certain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, Literal, TypeVar, overload

import attrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn

from clanforge_async._codec.objects import NOT_SENT, ObjectParser, json_field, make_converter
from clanforge_async._codec.values import (
    is_no_id,
    optional,
    parse_count,
    parse_id,
    parse_int,
    parse_mapping,
    parse_masked_mapping,
    parse_masked_text,
    parse_percentage,
    parse_success,
    parse_time,
)
from clanforge_async.errors import InvalidResponseError
from clanforge_async.jobs import (
    ImageDiffDetails,
    ImageDiffJob,
    ImageUpdateJob,
    ImageVersionJob,
    Job,
    JobState,
    JobStatus,
)
from clanforge_async.refs import EPOCH, JobKind, unix_second

J = TypeVar("J", bound=JobStatus)

_STATES_BY_NAME = {state.name.lower(): state for state in JobState} | {"complete": JobState.COMPLETED}
_LISTING = ("added", "modified", "removed")
_DETAILS = tuple(attribute.name for attribute in attrs.fields(ImageDiffDetails))


def _parse_state(id_and_name: tuple[object, object]) -> JobState | None:
    number, name = id_and_name
    if number is None:
        return _STATES_BY_NAME.get(str(name).strip().lower())
    try:
        return JobState(parse_int(number))
    except ValueError:
        return None


_structure_details = make_dict_structure_fn(
    ImageDiffDetails,
    make_converter(detailed_validation=True),
    **{name: json_field(name, parse_masked_mapping) for name in _DETAILS},
)


def _parse_details(details: Mapping[str, Any] | None) -> ImageDiffDetails | None:
    return None if details is None else _structure_details(details, ImageDiffDetails)


JOB_FIELDS: Mapping[str, Any] = {
    "state": json_field("state", _parse_state),
    "state_id": json_field("jobstateid"),
    "state_name": json_field("jobstatename"),
    "created_at": json_field("jobcreated"),
    "updated_at": json_field("jobupdated"),
    "started_at": json_field("jobstart", optional(parse_time)),
    "eta": json_field("jobeta", optional(parse_time)),
    "progress": json_field("jobprogress", parse_percentage),
    "failure_count": json_field("jobfailed", parse_count),
    "error": json_field("joberror", parse_masked_text),
}
"""JSON fields that all jobs share ("Job fields")."""

# The classes have defaults, for jobs that a program creates; JSON fields have none.
_ABSENT: dict[str, Any] = dict.fromkeys(("jobstateid", "jobstatename", "jobprogress", "jobfailed"))


class StatusParser(Generic[J]):
    """Parses the JSON object of one kind of job.

    Args:
        cls: The class.
        description: Name of the job in errors.
        id_field: JSON name of its id.
        **fields: `json_field` of each attribute that not every job has.
    """

    def __init__(self, cls: type[J], description: str, id_field: str, **fields: Any) -> None:
        self.cls = cls
        self.id_field = id_field
        self.fields: Mapping[str, Any] = {"id": json_field(id_field, parse_id), **JOB_FIELDS, **fields}
        self._parser = ObjectParser(cls, description, self.fields)

    def parse(self, mapping: Mapping[str, Any], expected_id: int | None = None) -> J:
        """Parse a job.

        Args:
            mapping: The JSON object.
            expected_id: Id of the requested job; None if the call creates a job.

        Raises:
            InvalidResponseError: The object is malformed, or describes another job.
        """
        payload = {**_ABSENT, **mapping}
        payload["state"] = payload["jobstateid"], payload["jobstatename"]
        if self.cls is ImageDiffJob:
            payload["details"] = {name: payload[name] for name in _DETAILS if payload.get(name) is not None} or None
            payload["has_listing"] = any(payload.get(name) is not None for name in _LISTING)
        job = self._parser.parse(payload, mapping)
        if expected_id not in (None, job.id):
            msg = f"response about another {self._parser.description}: {self.id_field} is {job.id}, not {expected_id}"
            raise InvalidResponseError(msg, fields=(self.id_field,))
        return job


_UPDATE = StatusParser(
    ImageUpdateJob,
    "image-update job",
    "updateid",
    newer_than=NOT_SENT,
    success=json_field("success", parse_success),
)
_DIFF = StatusParser(
    ImageDiffJob,
    "image-diff job",
    "diffid",
    newer_than=NOT_SENT,
    has_listing=json_field("has_listing", bool),
    details=json_field("details", _parse_details),
    **{name: json_field(name, parse_mapping, omit_if_default=True) for name in _LISTING},
)
_VERSION = StatusParser(
    ImageVersionJob,
    "image-version job",
    "imageversionid",
    newer_than=NOT_SENT,
    success=json_field("success", parse_success),
)
_PARSERS: dict[JobKind, StatusParser[Any]] = {
    JobKind.IMAGE_UPDATE: _UPDATE,
    JobKind.IMAGE_DIFF: _DIFF,
    JobKind.IMAGE_VERSION: _VERSION,
}


@overload
def job_from_dict(kind: Literal[JobKind.IMAGE_UPDATE], mapping: Mapping[str, Any]) -> ImageUpdateJob: ...
@overload
def job_from_dict(kind: Literal[JobKind.IMAGE_DIFF], mapping: Mapping[str, Any]) -> ImageDiffJob: ...
@overload
def job_from_dict(kind: Literal[JobKind.IMAGE_VERSION], mapping: Mapping[str, Any]) -> ImageVersionJob: ...
@overload
def job_from_dict(kind: JobKind, mapping: Mapping[str, Any]) -> ImageUpdateJob | ImageDiffJob | ImageVersionJob: ...


def job_from_dict(kind: JobKind, mapping: Mapping[str, Any]) -> Job:
    """Parse a job from the JSON object that the API sends for it.

    Unknown fields are ignored and unknown states kept. Numbers may be text or integral floats; ``jobprogress`` is
    clamped to 0..100; a missing ``success`` is true. The state is taken from ``jobstateid``, or from ``jobstatename``
    if that is null or absent.

    Raises:
        InvalidResponseError: Required fields are missing, or fields are malformed; ``fields`` names each of them.
    """
    if not isinstance(mapping, Mapping):
        msg = f"expected an object, not {type(mapping).__name__}"
        raise InvalidResponseError(msg)
    parser = _PARSERS.get(kind) or _PARSERS[JobKind(kind)]
    job: Job = parser.parse(mapping)
    return job


def parse_image_update_job(update_id: int | None, payload: Mapping[str, Any]) -> ImageUpdateJob:
    """Parse the response about an image update; see `job_from_dict`.

    The id is optional in the API's responses ("Image update status"). Without it, the response describes the requested
    update.

    Args:
        update_id: The requested update; None: a new one, whose id the response must contain.
        payload: The JSON object.
    """
    if update_id is not None and is_no_id(payload.get("updateid")):
        payload = {**payload, "updateid": update_id}
    return _UPDATE.parse(payload, update_id)


def parse_image_diff_job(diff_id: int | None, payload: Mapping[str, Any]) -> ImageDiffJob:
    """Parse the response about an image diff, or about a new one if ``diff_id`` is None; see `job_from_dict`."""
    return _DIFF.parse(payload, diff_id)


def parse_image_version_job(image_version_id: int | None, payload: Mapping[str, Any]) -> ImageVersionJob:
    """Parse the response about an image version, or about a new one if the id is None; see `job_from_dict`."""
    return _VERSION.parse(payload, image_version_id)


def _make_writers() -> dict[JobKind, Callable[[Any], dict[str, Any]]]:
    converter = make_converter(detailed_validation=False)
    converter.register_unstructure_hook(type(EPOCH), unix_second)
    fields: dict[JobKind, dict[str, Any]] = {
        kind: {**parser.fields, "state": NOT_SENT} for kind, parser in _PARSERS.items()
    }
    return {kind: make_dict_unstructure_fn(_PARSERS[kind].cls, converter, **fields[kind]) for kind in fields}


_WRITERS = _make_writers()


def job_to_dict(job: Job) -> dict[str, Any]:
    """Return the JSON object that the API sends for a job; `job_from_dict` parses it to an equal job.

    As in the API, times are Unix seconds, ``jobstart`` is text, and missing values are null.
    """
    payload = _WRITERS[job.kind](job)
    if payload["jobstart"] is not None:
        payload["jobstart"] = str(payload["jobstart"])
    if payload.pop("has_listing", False):
        payload |= {name: payload.get(name, {}) for name in _LISTING}
    details: dict[str, Any] = payload.pop("details", None) or {}
    return payload | {name: value for name, value in details.items() if value is not None}
