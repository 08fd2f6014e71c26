"""Jobs, references and errors as plain data for JSON, readable by other releases of this package.

Reading is lenient, since two releases run side by side during a deploy: unknown entries are ignored, and an unknown
class of error becomes a `ClanforgeError`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import NoneType
from typing import Any, TypeVar, cast

from attrs import NOTHING, Attribute, evolve, fields
from cattrs import Converter

from clanforge_async._codec.jobs import job_from_dict, job_to_dict
from clanforge_async._validation import is_number
from clanforge_async.errors import ClanforgeError
from clanforge_async.images import ImageRollout
from clanforge_async.jobs import ImageDiffJob, Job
from clanforge_async.refs import EPOCH, JobRef

T = TypeVar("T")

LONGEST_TEXT = 2048
"""Longest text in plain data, in bytes of UTF-8."""

_SCALARS: tuple[type, ...] = (str, int, float, type(EPOCH), NoneType)


def with_ref(job: Job, ref: JobRef) -> Job:
    """Return the snapshot with the reference's ``newer_than``, so that `Job.ref` is the reference."""
    return job if job.newer_than == ref.newer_than else evolve(job, newer_than=ref.newer_than)


def without_listings(job: Job) -> Job:
    """Return the snapshot without its listings and details, and with long texts clipped."""
    changes: dict[str, Any] = {}
    if isinstance(job, ImageDiffJob) and (job.added or job.modified or job.removed):
        changes["has_listing"] = False  # with empty maps, the job would look like a diff without differences
    for attribute in fields(type(job)):
        value = getattr(job, attribute.name)
        if isinstance(value, str) and (text := _clip(value)) != value:
            changes[attribute.name] = text
        elif not isinstance(value, _SCALARS):
            changes[attribute.name] = _default(attribute, value)
    return evolve(job, **changes) if changes else job


def _clip(text: str) -> str:
    if len(text) * 4 <= LONGEST_TEXT:  # a character has four bytes at most
        return text
    data = text.encode(errors="surrogatepass")
    return text if len(data) <= LONGEST_TEXT else data[:LONGEST_TEXT].decode(errors="ignore")


def _default(attribute: Attribute[Any], value: object) -> object:
    default: Any = attribute.default
    if default is NOTHING:
        return value
    return default.factory() if hasattr(default, "factory") else default


def job_to_plain(job: Job) -> dict[str, Any]:
    """Return a job and its reference as plain data."""
    return {"ref": str(job.ref), "status": job_to_dict(job)}


def job_from_plain(plain: Mapping[str, Any]) -> Job:
    """Read the result of `job_to_plain`.

    Raises:
        KeyError, TypeError, ValueError, InvalidResponseError: The data is not a job.
    """
    ref = JobRef.parse(plain["ref"])
    return with_ref(job_from_dict(ref.kind, plain["status"]), ref)


def error_to_plain(error: BaseException) -> dict[str, Any]:
    """Return an error with its attributes as plain data, and with its cause if that is an error of this package.

    Texts are truncated, and attributes that plain data cannot represent become their ``repr``.
    """
    attributes = {name: value for name, value in vars(error).items() if not name.startswith("__")}
    plain = {
        "type": type(error).__name__,
        "message": _clip(str(error)),
        "args": [_to_plain(arg) for arg in error.args],
        "attributes": {name: _to_plain(value) for name, value in attributes.items()},
    }
    cause = error.__cause__
    same = next((name for name, value in attributes.items() if value is cause), None)
    if isinstance(cause, ClanforgeError):
        plain["cause"] = error_to_plain(cause) if same is None else same
    return plain


def error_from_plain(plain: object) -> ClanforgeError:
    """Read the result of `error_to_plain`; an unknown class or an invalid error becomes a `ClanforgeError`."""
    plain = as_mapping(plain)
    name, message = str(plain.get("type", "")), str(plain.get("message", ""))
    # Classes of this package come last, so that no class of the same name elsewhere replaces one of them.
    classes = sorted(_error_classes(ClanforgeError), key=lambda cls: cls.__module__.startswith("clanforge_async."))
    cls = {cls.__name__: cls for cls in classes}.get(name)
    if cls is None:
        return ClanforgeError(f"{name}: {message}" if name else message)
    try:
        return _rebuild(cls, plain)
    except (ClanforgeError, KeyError, TypeError, ValueError, AttributeError):
        return ClanforgeError(f"{name}: {message}")


def _rebuild(cls: type[ClanforgeError], plain: Mapping[str, Any]) -> ClanforgeError:
    error = cls.__new__(cls)
    error.args = cast("tuple[Any, ...]", _from_plain(plain.get("args", [])))
    parameters = inspect.signature(cls.__init__).parameters.values()
    attributes = {name: _from_plain(value) for name, value in plain.get("attributes", {}).items()}
    stored = _stored_names(cls)
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty and p.name in stored}
    error.__dict__.update(defaults | attributes)
    cause = plain.get("cause")
    if cause is not None:
        error.__cause__ = attributes[cause] if isinstance(cause, str) else error_from_plain(cause)
    return error


def _stored_names(cls: type[ClanforgeError]) -> set[str]:
    """Return all names used in the constructors of a class: a parameter that is missing there is not an attribute."""
    constructors: list[object] = [vars(base).get("__init__") for base in cls.__mro__]
    codes = [getattr(constructor, "__code__", None) for constructor in constructors]
    return {name for code in codes if code is not None for name in code.co_names}


def _error_classes(cls: type[ClanforgeError]) -> Iterator[type[ClanforgeError]]:
    for subclass in cls.__subclasses__():
        yield from _error_classes(subclass)
    yield cls


def register_kind(name: str, cls: type[T], write: Callable[[T], Any], read: Callable[[Any], T]) -> None:
    """Keep values of a class as attributes of errors in plain data, instead of their ``repr``.

    Args:
        name: Name of the kind in plain data.
        cls: The class.
        write: Returns a value as plain data.
        read: Reads the result of `write`. If it raises an error that `error_from_plain` catches, the error with the
            attribute becomes a plain `ClanforgeError`.
    """
    _KINDS[name] = cls, write, read


def _to_plain(value: object) -> Any:
    for name, (cls, write, _) in _KINDS.items():
        if isinstance(value, cls):
            return {name: write(value)}
    match value:
        case str():
            plain: Any = _clip(value)
        case None | bool() | int() | float():
            plain = value
        case Sequence():
            plain = [_to_plain(item) for item in cast("Sequence[object]", value)]
        case _:
            plain = _clip(repr(value))
    return plain


def _from_plain(plain: Any) -> Any:
    if isinstance(plain, list):
        return tuple(_from_plain(item) for item in cast("list[object]", plain))
    if not isinstance(plain, Mapping):
        return plain
    [(name, value)] = cast("Mapping[str, Any]", plain).items()
    _, _, read = _KINDS[name]
    return read(value)


def _write_mapping(entries: Mapping[object, object]) -> dict[str, Any]:
    return {str(key): _to_plain(entry) for key, entry in entries.items()}


def _read_mapping(entries: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _from_plain(entry) for key, entry in entries.items()}


def _write_job(job: Job) -> dict[str, Any]:
    return job_to_plain(without_listings(job))


_RECORDS = Converter(omit_if_default=True, detailed_validation=False)
_KINDS: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "time": (type(EPOCH), type(EPOCH).isoformat, EPOCH.fromisoformat),
    "ref": (JobRef, str, JobRef.parse),
    "job": (Job, _write_job, job_from_plain),
    "error": (BaseException, error_to_plain, error_from_plain),
    "rollout": (ImageRollout, _RECORDS.unstructure, partial(_RECORDS.structure, cl=ImageRollout)),
    "mapping": (Mapping, _write_mapping, _read_mapping),
}
"""The functions that write and read attributes of errors, by class."""


def as_mapping(plain: object) -> Mapping[str, Any]:
    """Return plain data that should be an object; an empty object if it is not."""
    return cast("Mapping[str, Any]", plain) if isinstance(plain, Mapping) else {}


def number_or(plain: Mapping[str, Any], name: str, default: Any) -> Any:
    """Return a number in plain data; the default if it is missing or invalid. An ``int`` default requires a count."""
    value = plain.get(name)
    if isinstance(default, int):
        return value if type(value) is int and value >= 0 else default
    return value if is_number(value) and not math.isinf(value) else default
