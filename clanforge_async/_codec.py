"""The wire form of jobs and errors: the only place that knows its field names and its habits.

The server writes numbers as text and text as numbers, leaves fields out, adds others, and calls state 5 both
`Completed` and `Complete`. Reading is lenient where the meaning is certain, and strict everywhere else: a job that
was guessed is worse than none.
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
"""How many bytes of a body an error keeps."""

T = TypeVar("T")
U = TypeVar("U")

_WHOLE_NUMBER = re.compile(r"\s*([+-]?[0-9]+)(?:\.0*)?\s*", re.ASCII)
_FLAGS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_STATES_BY_NAME = {state.name.lower(): state for state in JobState} | {"complete": JobState.COMPLETED}


# What these raise says nothing more: whoever reads of it is told which field was at fault.


def _integer(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and (match := _WHOLE_NUMBER.fullmatch(value)):
        return int(match[1])
    raise ValueError


def _id(value: object) -> int:
    return positive_id(_integer(value))


def _count(value: object) -> int:
    # One page documents `jobfailed` as a flag, another as the number of failures.
    return int(value) if isinstance(value, bool) else _integer(value)


def _percentage(value: object) -> int:
    return min(max(_integer(value), 0), 100)


def _moment(value: object) -> datetime:
    return EPOCH + timedelta(seconds=_integer(value))


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower().removesuffix(".0")
    if isinstance(value, int | float | str) and text in _FLAGS:
        return _FLAGS[text]
    raise ValueError


def _success(value: object) -> bool:
    return True if value is None else _flag(value)


def _mapping(value: object) -> Mapping[str, Any]:
    # Servers that make no difference between lists and maps write an empty map as a list.
    if value is None or value == []:
        return {}
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value)
    raise ValueError


def _state(id_and_name: tuple[object, object]) -> JobState | None:
    number, name = id_and_name
    if number is None:
        return _STATES_BY_NAME.get(str(name).strip().lower())
    try:
        return JobState(_integer(number))
    except ValueError:
        return None


def _read(rename: str, read: Callable[[Any], Any] | None = None, *, omit_if_default: bool | None = None) -> Any:
    if read is None:
        return override(rename=rename)
    return override(rename=rename, omit_if_default=omit_if_default, struct_hook=lambda value, _type: read(value))


_JOB_FIELDS = {
    "state": _read("state", _state),
    "state_id": _read("jobstateid"),
    "state_name": _read("jobstatename"),
    "created_at": _read("jobcreated"),
    "updated_at": _read("jobupdated"),
    "started_at": _read("jobstart"),
    "eta": _read("jobeta"),
    "progress": _read("jobprogress", _percentage),
    "failure_count": _read("jobfailed", _count),
    "error": _read("joberror"),
    "newer_than": override(omit=True),
}
_FIELDS: dict[type[Job], dict[str, Any]] = {
    ImageDiffJob: {
        "id": _read("diffid", _id),
        **_JOB_FIELDS,
        "added": _read("added", _mapping, omit_if_default=True),
        "modified": _read("modified", _mapping, omit_if_default=True),
        "removed": _read("removed", _mapping, omit_if_default=True),
        "details": _read("details"),
    },
    ImageVersionJob: {"id": _read("imageversionid", _id), **_JOB_FIELDS, "success": _read("success", _success)},
}
_UNWRITTEN: dict[str, Any] = {"state": override(omit=True)}
# The classes have defaults, for whoever makes a job by hand; the wire has none to fall back on.
_ABSENT: dict[str, Any] = dict.fromkeys(("jobstateid", "jobstatename", "jobprogress", "jobfailed"))
_KINDS: dict[JobKind, type[Job]] = {cls.kind: cls for cls in _FIELDS}
_DETAILS = tuple(attribute.name for attribute in attrs.fields(ImageDiffDetails))


def _converter(*, detailed_validation: bool) -> Converter:
    converter = Converter(detailed_validation=detailed_validation)
    converter.register_structure_hook(int, lambda value, _type: _integer(value))
    converter.register_structure_hook(str, lambda value, _type: _text(value))
    converter.register_structure_hook(type(EPOCH), lambda value, _type: _moment(value))
    parts: dict[str, Any] = {name: _read(name, _mapping) for name in _DETAILS}
    converter.register_structure_hook(ImageDiffDetails, make_dict_structure_fn(ImageDiffDetails, converter, **parts))
    converter.register_unstructure_hook(type(EPOCH), lambda moment: (moment - EPOCH) // timedelta(seconds=1))
    for cls, fields in _FIELDS.items():
        converter.register_structure_hook(cls, make_dict_structure_fn(cls, converter, **fields))
        converter.register_unstructure_hook(cls, make_dict_unstructure_fn(cls, converter, **(fields | _UNWRITTEN)))
    return converter


# Jobs are read once a poll and are nearly always well-formed: the quick converter stops at the first fault, and only
# then does the thorough one look for all of them.
_QUICK = _converter(detailed_validation=False)
_THOROUGH = _converter(detailed_validation=True)
_STRUCTURE: dict[type[Job], Callable[[Any, type[Job]], Job]] = {cls: _QUICK.get_structure_hook(cls) for cls in _FIELDS}


def _faults(error: ClassValidationError, cls: type) -> list[str]:
    names = {name: field.rename or name for name, field in _FIELDS.get(cls, {}).items()}
    at_fault: list[str] = []
    for fault, note in error.group_exceptions()[0]:
        if isinstance(fault, ClassValidationError):
            at_fault += _faults(fault, ImageDiffDetails)
        else:
            at_fault.append(names.get(note.name, note.name))
    return at_fault


@overload
def job_from_dict(kind: Literal[JobKind.IMAGE_DIFF], mapping: Mapping[str, Any]) -> ImageDiffJob: ...
@overload
def job_from_dict(kind: Literal[JobKind.IMAGE_VERSION], mapping: Mapping[str, Any]) -> ImageVersionJob: ...
@overload
def job_from_dict(kind: JobKind, mapping: Mapping[str, Any]) -> ImageDiffJob | ImageVersionJob: ...


def job_from_dict(kind: JobKind, mapping: Mapping[str, Any]) -> Job:
    """Read a job from the object that the API sends for it.

    Unknown fields are ignored and unknown states survive. Numbers may be text, and whole-numbered floats are
    numbers; ``jobprogress`` is clamped to 0..100; a missing ``success`` is true. The state is what ``jobstateid``
    says, or ``jobstatename`` where that is null or absent.

    Raises:
        InvalidResponseError: A required field is missing or a field cannot be read; ``fields`` names each of them.
    """
    if not isinstance(mapping, Mapping):
        msg = f"expected an object, not {type(mapping).__name__}"
        raise InvalidResponseError(msg)
    cls = _KINDS.get(kind) or _KINDS[JobKind(kind)]
    wire = {**_ABSENT, **mapping}
    wire["state"] = wire["jobstateid"], wire["jobstatename"]
    if cls is ImageDiffJob:
        wire["details"] = {name: wire[name] for name in _DETAILS if wire.get(name) is not None} or None
    try:
        return _STRUCTURE[cls](wire, cls)
    except (KeyError, TypeError, ValueError, OverflowError):
        pass
    try:
        return _THOROUGH.structure(wire, cls)
    except ClassValidationError as error:
        fields = tuple(dict.fromkeys(_faults(error, cls)))
    msg = f"not a readable {cls.kind} job: {', '.join(fields)} missing or malformed"
    raise InvalidResponseError(msg, fields=fields, body=excerpt(_written(mapping)))


def _written(mapping: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(dict(mapping), default=str).encode()
    except (TypeError, ValueError, RecursionError):
        return b""  # it never was JSON, so there is no body to show


def job_to_dict(job: Job) -> dict[str, Any]:
    """Return the object that the API sends for such a job; `job_from_dict` reads it back as an equal job.

    As on the wire, times are Unix seconds, ``jobstart`` is one as text, and what a job has not is null.
    """
    wire: dict[str, Any] = _QUICK.unstructure(job)
    if wire["jobstart"] is not None:
        wire["jobstart"] = str(wire["jobstart"])
    details: dict[str, Any] = wire.pop("details", None) or {}
    return wire | {name: value for name, value in details.items() if value is not None}


@frozen
class Complaint:
    """What a body says beside, or instead of, a job.

    Attributes:
        message: What went wrong, in the server's words; may be empty.
        code: The ``error_code``, None where it gives none.
        text: All of its texts, to search in.
    """

    message: str
    code: int | None
    text: str


def is_error(payload: Mapping[str, Any]) -> bool:
    """Whether an object from the API declares itself an error: ``success`` false or ``error`` true."""
    return _try(_flag, payload.get("success"), True) is False or _try(_flag, payload.get("error"), False) is True


def complaint_in(payload: Mapping[str, Any]) -> Complaint:
    """Return what an object from the API complains about, error or not."""
    messages = payload.get("messages")
    texts = [payload.get("error_message"), payload.get("message"), payload.get("error")]
    texts += messages if isinstance(messages, list) else []
    said = [text for text in texts if isinstance(text, str) and text.strip()]
    code = _try(_integer, payload.get("error_code"), None)
    return Complaint(said[0][:LONGEST_MESSAGE] if said else "", code, "\n".join(said))


def _try(read: Callable[[object], T], value: object, otherwise: U) -> T | U:
    try:
        return read(value)
    except (ValueError, TypeError):
        return otherwise


def excerpt(body: bytes) -> str:
    """Return the start of a body, for an error to keep."""
    return body[:EXCERPT].decode(errors="replace")
