"""JSON <-> jobs, and JSON -> error bodies: the only module that knows the API's field names and quirks.

The server sends numbers as text and text as numbers, omits fields, adds others, and calls state 5 both `Completed`
and `Complete`. Parsing is lenient if the meaning is certain and strict otherwise: a guessed job is worse than none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar, cast, overload

import attrs
from attrs import frozen
from cattrs import ClassValidationError, Converter
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from clanforge_async._validation import positive_id
from clanforge_async.errors import LONGEST_MESSAGE, InvalidResponseError
from clanforge_async.jobs import ImageDiffDetails, ImageDiffJob, ImageVersionJob, Job, JobState
from clanforge_async.refs import EPOCH, JobKind

EXCERPT = 2048
"""Bytes of a response body that an error keeps."""

T = TypeVar("T")
U = TypeVar("U")
J = TypeVar("J", bound=Job)

_INTEGER = re.compile(r"\s*([+-]?[0-9]+)(?:\.0*)?\s*", re.ASCII)
_FLAGS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_STATES_BY_NAME = {state.name.lower(): state for state in JobState} | {"complete": JobState.COMPLETED}


# These raise a bare ValueError: the error of the whole object names the field.


def _parse_int(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and (match := _INTEGER.fullmatch(value)):
        return int(match[1])
    raise ValueError


def _parse_id(value: object) -> int:
    return positive_id(_parse_int(value))


def _parse_count(value: object) -> int:
    # One page documents `jobfailed` as a flag, another as the number of failures.
    try:
        return _parse_int(value)
    except ValueError:
        return int(_parse_bool(value))


def _parse_percentage(value: object) -> int:
    return min(max(_parse_int(value), 0), 100)


def _parse_time(value: object) -> datetime:
    return EPOCH + timedelta(seconds=_parse_int(value))


def _parse_optional_time(value: object) -> datetime | None:
    is_absent = value is None or (isinstance(value, str) and not value.strip())
    return None if is_absent else _parse_time(value)


def _parse_text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError


def _parse_bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower().removesuffix(".0")
    if isinstance(value, int | float | str) and text in _FLAGS:
        return _FLAGS[text]
    raise ValueError


def _parse_success(value: object) -> bool:
    return True if value is None else _parse_bool(value)


def _parse_mapping(value: object) -> Mapping[str, Any]:
    # Servers that do not distinguish lists from maps send an empty map as a list.
    if value is None or value == []:
        return {}
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value)
    raise ValueError


def _parse_state(id_and_name: tuple[object, object]) -> JobState | None:
    number, name = id_and_name
    if number is None:
        return _STATES_BY_NAME.get(str(name).strip().lower())
    try:
        return JobState(_parse_int(number))
    except ValueError:
        return None


def _field(json_name: str, parse: Callable[[Any], Any] | None = None, *, omit_if_default: bool | None = None) -> Any:
    if parse is None:
        return override(rename=json_name)
    return override(rename=json_name, omit_if_default=omit_if_default, struct_hook=lambda value, _type: parse(value))


_JOB_FIELDS = {
    "state": _field("state", _parse_state),
    "state_id": _field("jobstateid"),
    "state_name": _field("jobstatename"),
    "created_at": _field("jobcreated"),
    "updated_at": _field("jobupdated"),
    "started_at": _field("jobstart", _parse_optional_time),
    "eta": _field("jobeta", _parse_optional_time),
    "progress": _field("jobprogress", _parse_percentage),
    "failure_count": _field("jobfailed", _parse_count),
    "error": _field("joberror"),
    "newer_than": override(omit=True),
}
_FIELDS: dict[type[Job], dict[str, Any]] = {
    ImageDiffJob: {
        "id": _field("diffid", _parse_id),
        **_JOB_FIELDS,
        "added": _field("added", _parse_mapping, omit_if_default=True),
        "modified": _field("modified", _parse_mapping, omit_if_default=True),
        "removed": _field("removed", _parse_mapping, omit_if_default=True),
        "details": _field("details"),
    },
    ImageVersionJob: {
        "id": _field("imageversionid", _parse_id),
        **_JOB_FIELDS,
        "success": _field("success", _parse_success),
    },
}
_NOT_DUMPED: dict[str, Any] = {"state": override(omit=True)}
# The classes have defaults, for jobs made by hand; JSON fields have none.
_ABSENT: dict[str, Any] = dict.fromkeys(("jobstateid", "jobstatename", "jobprogress", "jobfailed"))
_CLASSES: dict[JobKind, type[Job]] = {cls.kind: cls for cls in _FIELDS}
_DETAILS = tuple(attribute.name for attribute in attrs.fields(ImageDiffDetails))


def _make_converter(*, detailed_validation: bool) -> Converter:
    converter = Converter(detailed_validation=detailed_validation)
    converter.register_structure_hook(int, lambda value, _type: _parse_int(value))
    converter.register_structure_hook(str, lambda value, _type: _parse_text(value))
    converter.register_structure_hook(type(EPOCH), lambda value, _type: _parse_time(value))
    parts: dict[str, Any] = {name: _field(name, _parse_mapping) for name in _DETAILS}
    converter.register_structure_hook(ImageDiffDetails, make_dict_structure_fn(ImageDiffDetails, converter, **parts))
    converter.register_unstructure_hook(type(EPOCH), lambda moment: (moment - EPOCH) // timedelta(seconds=1))
    for cls, fields in _FIELDS.items():
        converter.register_structure_hook(cls, make_dict_structure_fn(cls, converter, **fields))
        converter.register_unstructure_hook(cls, make_dict_unstructure_fn(cls, converter, **(fields | _NOT_DUMPED)))
    return converter


# A job is parsed at every poll and is nearly always valid. The fast converter stops at the first invalid field; only
# then does the detailed one collect them all.
_FAST = _make_converter(detailed_validation=False)
_DETAILED = _make_converter(detailed_validation=True)
_STRUCTURE: dict[type[Job], Callable[[Any, Any], Any]] = {cls: _FAST.get_structure_hook(cls) for cls in _FIELDS}


def _invalid_fields(error: ClassValidationError, cls: type) -> list[str]:
    names = {name: field.rename or name for name, field in _FIELDS.get(cls, {}).items()}
    invalid: list[str] = []
    for cause, note in error.group_exceptions()[0]:
        if isinstance(cause, ClassValidationError):
            invalid += _invalid_fields(cause, ImageDiffDetails)
        else:
            invalid.append(names.get(note.name, note.name))
    return invalid


@overload
def job_from_dict(kind: Literal[JobKind.IMAGE_DIFF], mapping: Mapping[str, Any]) -> ImageDiffJob: ...
@overload
def job_from_dict(kind: Literal[JobKind.IMAGE_VERSION], mapping: Mapping[str, Any]) -> ImageVersionJob: ...
@overload
def job_from_dict(kind: JobKind, mapping: Mapping[str, Any]) -> ImageDiffJob | ImageVersionJob: ...


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
    return _parse_job(_CLASSES.get(kind) or _CLASSES[JobKind(kind)], mapping)


def parse_image_diff_job(diff_id: int, payload: Mapping[str, Any]) -> ImageDiffJob:
    """Parse the response about an image diff; see `job_from_dict`. One about another diff is invalid."""
    return _with_id(diff_id, _parse_job(ImageDiffJob, payload))


def parse_image_version_job(image_version_id: int, payload: Mapping[str, Any]) -> ImageVersionJob:
    """Parse the response about an image version; see `job_from_dict`. One about another image version is invalid."""
    return _with_id(image_version_id, _parse_job(ImageVersionJob, payload))


def _with_id(expected: int, job: J) -> J:
    if job.id != expected:
        name = _FIELDS[type(job)]["id"].rename
        msg = f"a response about another {job.kind} job: {name} is {job.id}, not {expected}"
        raise InvalidResponseError(msg, fields=(name,))
    return job


def _parse_job(cls: type[J], mapping: Mapping[str, Any]) -> J:
    payload = {**_ABSENT, **mapping}
    payload["state"] = payload["jobstateid"], payload["jobstatename"]
    if cls is ImageDiffJob:
        payload["details"] = {name: payload[name] for name in _DETAILS if payload.get(name) is not None} or None
    try:
        job: J = _STRUCTURE[cls](payload, cls)
    except (KeyError, TypeError, ValueError, OverflowError):
        pass
    else:
        return job
    try:
        return _DETAILED.structure(payload, cls)
    except ClassValidationError as error:
        fields = tuple(dict.fromkeys(_invalid_fields(error, cls)))
    msg = f"not a readable {cls.kind} job: {', '.join(fields)} missing or malformed"
    raise InvalidResponseError(msg, fields=fields, body=excerpt(_dump(mapping)))


def _dump(mapping: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(dict(mapping), default=str).encode()
    except (TypeError, ValueError, RecursionError):
        return b""  # not JSON in the first place: there is no body to show


def job_to_dict(job: Job) -> dict[str, Any]:
    """Return the JSON object that the API sends for a job; `job_from_dict` parses it to an equal job.

    As in the API, times are Unix seconds, ``jobstart`` is text, and missing values are null.
    """
    payload: dict[str, Any] = _FAST.unstructure(job)
    if payload["jobstart"] is not None:
        payload["jobstart"] = str(payload["jobstart"])
    details: dict[str, Any] = payload.pop("details", None) or {}
    return payload | {name: value for name, value in details.items() if value is not None}


@frozen
class ErrorBody:
    """The error that a response body reports.

    Attributes:
        message: The server's error message; may be empty.
        code: The ``error_code``, if any.
        text: All texts of the body, for searching.
    """

    message: str
    code: int | None
    text: str


def is_error(payload: Mapping[str, Any]) -> bool:
    """Whether a response body reports an error: ``success`` is false or ``error`` is true."""
    success = _parse_or_default(_parse_bool, payload.get("success"), True)
    error = _parse_or_default(_parse_bool, payload.get("error"), False)
    return not success or error


def parse_error_body(payload: Mapping[str, Any]) -> ErrorBody:
    """Parse the error of a response body; empty if it reports none."""
    listed = payload.get("messages")
    texts = [payload.get("error_message"), payload.get("message"), payload.get("error")]
    texts += listed if isinstance(listed, list) else []
    texts.append(payload.get("joberror"))
    messages = [text for text in texts if isinstance(text, str) and text.strip()]
    code = _parse_or_default(_parse_int, payload.get("error_code"), None)
    return ErrorBody(messages[0][:LONGEST_MESSAGE] if messages else "", code, "\n".join(messages))


def _parse_or_default(parse: Callable[[object], T], value: object, default: U) -> T | U:
    try:
        return parse(value)
    except (ValueError, TypeError):
        return default


def excerpt(body: bytes) -> str:
    """Return the first 2 KiB of a response body as text."""
    return body[:EXCERPT].decode(errors="replace")
