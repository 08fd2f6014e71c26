"""Results and errors as plain data: one process writes them, and another reads them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import evolve, frozen

from clanforge_async import (
    APIError,
    ClanforgeError,
    ConfigurationError,
    FleetRollout,
    ImageDiffJob,
    ImageLockedError,
    ImageRelease,
    ImageRollout,
    InvalidResponseError,
    JobFailedError,
    JobRef,
    JobSquashedError,
    JobState,
    OutcomeUnknownError,
    RateLimitError,
    RegionRollout,
    ReleaseError,
    ReleaseStep,
    ReleaseToken,
    RequestTimeoutError,
    RetryOutcomeUnknownError,
    RolloutError,
    StaleJobError,
    SteamSource,
    TransportError,
    WatchClosedError,
    WatchResult,
    WatchTimeoutError,
)
from clanforge_async.engine import WatchState

NOW = datetime(2025, 11, 22, tzinfo=UTC)
JOB = ImageDiffJob(
    id=5678, state=JobState.FAILED, created_at=NOW, updated_at=NOW, error="no space left", newer_than=NOW
)
THROTTLED = RateLimitError("too many", status_code=429, url="https://host/status", body="slow down", retry_after=2.5)


def all_classes(cls: type[ClanforgeError] = ClanforgeError) -> Iterator[type[ClanforgeError]]:
    """Yield the whole tree of errors of the package."""
    if not cls.__name__.startswith("_"):
        yield cls
    for subclass in cls.__subclasses__():
        if subclass.__module__.startswith("clanforge_async"):
            yield from all_classes(subclass)


RELEASE = ImageRelease(501, 77, "build", SteamSource(730))
TOKEN = ReleaseToken(image_id=501, machine_id=77, plan=RELEASE.digest, diff=JOB.ref)
ROLLOUT = ImageRollout(
    failed=2, fleets={3: FleetRollout(pending=1, regions={4: RegionRollout(name="eu", completed=7)})}
)


def caused(error: ClanforgeError) -> ClanforgeError:
    error.__cause__ = THROTTLED
    return error


CONTEXT: dict[str, Any] = {"status_code": 418, "error_code": 7, "url": "https://host/x", "body": "b", "retry_after": 1}
EXAMPLES: dict[type[ClanforgeError], Callable[[Any], ClanforgeError]] = {
    ImageLockedError: lambda cls: cls("locked", holder=JobRef.image_update(4), **CONTEXT),
    APIError: lambda cls: cls("refused", **CONTEXT),
    TransportError: lambda cls: cls("connection lost", request_sent=True),
    JobFailedError: lambda cls: cls(JOB),
    InvalidResponseError: lambda cls: cls("not a job", fields=("jobcreated", "jobupdated"), body="{}"),
    RetryOutcomeUnknownError: lambda cls: caused(cls(JobRef.image_update(5678, NOW))),
    OutcomeUnknownError: lambda cls: caused(cls("image_diffs.create", candidate=JOB.ref, lock=JOB.ref)),
    RolloutError: lambda cls: cls("machines", step=ReleaseStep.ROLLOUT, token=TOKEN, rollout=ROLLOUT),
    ReleaseError: lambda cls: cls("failed", step=ReleaseStep.DIFF, token=TOKEN, job=JOB),
    StaleJobError: lambda cls: cls(JOB.ref, JOB, THROTTLED),
    WatchClosedError: lambda cls: cls(JOB.ref, JOB, THROTTLED),
    WatchTimeoutError: lambda cls: cls(JOB.ref, None, THROTTLED),
    ClanforgeError: lambda cls: cls("wrong"),
}
"""Functions that make an error of a class or its subclasses, with all attributes; the first matching class is used."""


def example(cls: type[ClanforgeError]) -> ClanforgeError:
    return next(make(cls) for base, make in EXAMPLES.items() if issubclass(cls, base))


def result_with(error: Exception | None) -> WatchResult:
    return WatchResult(ref=JOB.ref, job=JOB, error=error, polls=3, elapsed=12.5)


def through_json(result: WatchResult) -> WatchResult:
    return WatchResult.from_dict(json.loads(json.dumps(result.to_dict(), allow_nan=False)))


def described(error: BaseException | None) -> object:
    """Return all data of an error, for comparison."""
    if error is None:
        return None
    attributes = {name: described(v) if isinstance(v, BaseException) else v for name, v in vars(error).items()}
    return type(error), str(error), error.args, attributes, described(error.__cause__)


@pytest.mark.parametrize("cls", list(all_classes()), ids=lambda cls: cls.__name__)
def test_every_error_survives_json(cls: type[ClanforgeError]) -> None:
    """An error of any class of the package is read back with its class, text, attributes and cause."""
    error = example(cls)
    read = through_json(result_with(error))
    assert described(read.error) == described(error)
    assert evolve(read, error=None) == result_with(None)


def test_a_cause_that_is_an_attribute_is_one_object() -> None:
    """The last error of a watch is an attribute and the cause of its error: after reading, one object again."""
    read = through_json(result_with(WatchTimeoutError(JOB.ref, JOB, THROTTLED))).error
    assert isinstance(read, WatchTimeoutError)
    assert read.last_error is read.__cause__


def test_a_completed_result_survives_json() -> None:
    """A result without an error is read back equal, with its job, listings and reference."""
    job = evolve(
        JOB,
        state=JobState.COMPLETED,
        state_id=5,
        state_name="Completed",
        added={"maps/tundra.pak": {"size": 12}},
        has_listing=True,
    )
    result = WatchResult(ref=job.ref, job=job, error=None, polls=3, elapsed=12.5)
    assert through_json(result) == result
    assert through_json(evolve(result, job=None)) == evolve(result, job=None)
    read = through_json(result).job
    assert read is not None
    assert read.ref == JOB.ref


@pytest.mark.parametrize("error", [LookupError("no idea"), type("LaterError", (Exception,), {})("no idea")])
def test_an_unknown_error_becomes_the_base_class(error: Exception) -> None:
    """An error from outside the package becomes a `ClanforgeError` whose text has the error's class and text."""
    read = through_json(result_with(error)).error
    assert type(read) is ClanforgeError
    assert str(read) == f"{type(error).__name__}: no idea"


@pytest.mark.parametrize(
    "change",
    [
        {"attributes": {"job": {"job": {"ref": "image-version/1", "status": {}}}}},
        {"attributes": {"job": {"colour": "red"}}},
        {"attributes": {"job": {"a": 1, "b": 2}}},
        {"attributes": 5},
        {"cause": "nothing"},
        {"args": 5},
    ],
)
def test_an_unreadable_error_becomes_the_base_class(change: dict[str, Any]) -> None:
    """An error with invalid data becomes a `ClanforgeError` whose text has the error's class and text."""
    plain = result_with(JobSquashedError(JOB)).to_dict()
    plain["error"] |= change
    error = WatchResult.from_dict(plain).error
    assert type(error) is ClanforgeError
    assert str(error) == "JobSquashedError: image-diff/5678 was squashed by a newer job: no space left"


@pytest.mark.parametrize(("plain", "text"), [({}, ""), ("red", ""), ({"message": "broken"}, "broken")])
def test_an_error_without_a_class_becomes_the_base_class(plain: object, text: str) -> None:
    """Data without a class becomes a `ClanforgeError` with the text in the data, if any."""
    error = WatchResult.from_dict(result_with(None).to_dict() | {"error": plain}).error
    assert type(error) is ClanforgeError
    assert str(error) == text


def test_missing_entries_take_their_defaults() -> None:
    """Entries that an older release did not write get their defaults, and unknown entries are ignored."""
    plain = result_with(THROTTLED).to_dict()
    plain["colour"] = plain["error"]["colour"] = plain["error"]["attributes"]["colour"] = "red"
    del plain["error"]["attributes"]["retry_after"]
    error = WatchResult.from_dict(plain).error
    assert isinstance(error, RateLimitError)
    assert (error.retry_after, error.status_code) == (None, 429)
    assert WatchResult.from_dict({"ref": "image-diff/5678"}) == WatchResult(
        ref=JobRef.image_diff(5678), job=None, error=None, polls=0, elapsed=0.0
    )


def test_attributes_of_any_type_are_written() -> None:
    """Times, mappings, sequences and references are read back as attributes; other objects become text."""
    error = ConfigurationError("wrong")
    error.__dict__.update(at=NOW, counts={"a": (1, [NOW])}, ref=JOB.ref, other=3j, text="x" * 9999, nothing=None)
    read = through_json(result_with(error)).error
    assert read is not None
    assert vars(read) == {
        "at": NOW,
        "counts": {"a": (1, (NOW,))},
        "ref": JOB.ref,
        "other": "3j",
        "text": "x" * 2048,
        "nothing": None,
    }


@pytest.mark.parametrize("character", ["x", "é", "日", "🦀", "\ud800"])
def test_texts_are_clipped_by_their_bytes(character: str) -> None:
    """A text is clipped to 2 KiB, with any characters, and never within a character."""
    job = evolve(JOB, error=character * 100_000)
    assert job.error is not None
    clipped = WatchState.start(job, 0.0).to_dict()["last_job"]["joberror"]
    assert 2044 < len(clipped.encode(errors="surrogatepass")) <= 2048 or character == "\ud800"
    assert job.error.startswith(clipped)


def test_a_class_of_another_package_hides_none() -> None:
    """An error is read back with its class of this package, even if another package has a class of the same name."""
    other = type("RateLimitError", (ClanforgeError,), {})
    assert type(through_json(result_with(THROTTLED)).error) is RateLimitError
    assert issubclass(other, ClanforgeError)


def test_a_timeout_error_is_still_one() -> None:
    """An error that is also a `TimeoutError` is still one after reading."""
    error = RequestTimeoutError("no response in time", request_sent=True)
    assert isinstance(through_json(result_with(error)).error, TimeoutError)


@frozen(kw_only=True)
class ListedJob(ImageDiffJob):
    """A job of a later release, with a listing that has no default."""

    files: tuple[str, ...]


def test_only_listings_with_a_default_are_left_out() -> None:
    """A state's job has no listings, except those without a default."""
    job = ListedJob(id=5678, state=None, created_at=NOW, updated_at=NOW, added={"a": 1}, files=("a",))
    assert WatchState.start(job, 0.0).last_job == evolve(job, added={}, has_listing=False)
