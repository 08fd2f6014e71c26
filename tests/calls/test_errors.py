"""Errors: one tree, with their data as attributes, that can be pickled."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

import clanforge_async
from clanforge_async import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ClanforgeError,
    ConfigurationError,
    ImageDiffJob,
    ImageLockedError,
    ImageRollout,
    InvalidResponseError,
    JobFailedError,
    JobRef,
    JobSquashedError,
    JobState,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitError,
    ReleaseError,
    ReleaseRejectedError,
    ReleaseStep,
    ReleaseSupersededError,
    ReleaseTimeoutError,
    ReleaseToken,
    RequestTimeoutError,
    RetryOutcomeUnknownError,
    RolloutError,
    ServerError,
    StaleJobError,
    TransportError,
    WatchClosedError,
    WatchTimeoutError,
)

TREE: dict[type[ClanforgeError], tuple[type[BaseException], ...]] = {
    ConfigurationError: (ClanforgeError, ValueError),
    TransportError: (ClanforgeError,),
    RequestTimeoutError: (TransportError, TimeoutError),
    APIError: (ClanforgeError,),
    BadRequestError: (APIError,),
    AuthenticationError: (APIError,),
    PermissionDeniedError: (APIError,),
    NotFoundError: (APIError,),
    RateLimitError: (APIError,),
    ServerError: (APIError,),
    ImageLockedError: (APIError,),
    InvalidResponseError: (ClanforgeError,),
    OutcomeUnknownError: (ClanforgeError,),
    RetryOutcomeUnknownError: (OutcomeUnknownError,),
    ReleaseError: (ClanforgeError,),
    ReleaseRejectedError: (ReleaseError,),
    ReleaseSupersededError: (ReleaseError,),
    ReleaseTimeoutError: (ReleaseError, TimeoutError),
    RolloutError: (ReleaseError,),
    JobFailedError: (ClanforgeError,),
    JobSquashedError: (JobFailedError,),
    StaleJobError: (ClanforgeError,),
    WatchClosedError: (ClanforgeError,),
    WatchTimeoutError: (ClanforgeError, TimeoutError),
}

TIME = datetime(2025, 11, 22, tzinfo=UTC)
TOKEN = ReleaseToken.parse("release/1:501.77.6a9a5b4d-e3b0c442-2937013f:")
ROLLOUT = ImageRollout(pending=0, failed=1, completed=2)
JOB = ImageDiffJob(
    id=5,
    state=JobState.FAILED,
    created_at=TIME,
    updated_at=TIME,
    progress=40,
    error="no space left",
    added={"a/b": {"size": 1}},
)
REF = JobRef.image_diff(5, TIME)
RESPONSE: dict[str, Any] = {
    "error_code": 12,
    "method": "POST",
    "url": "https://api.example/cfp/v1/imagediff/5/status",
    "body": '{"success": false}',
    "retry_after": 1.5,
}

ERRORS: list[tuple[ClanforgeError, dict[str, Any]]] = [
    (ClanforgeError("something"), {}),
    (ConfigurationError("the client is closed"), {}),
    (TransportError("refused", request_sent=False), {"request_sent": False}),
    (RequestTimeoutError("no answer", request_sent=True), {"request_sent": True}),
    (APIError("teapot", status_code=418, **RESPONSE), {"status_code": 418, "message": "teapot", **RESPONSE}),
    (BadRequestError("bad", status_code=400, **RESPONSE), {"status_code": 400, "message": "bad", **RESPONSE}),
    (AuthenticationError("keys", status_code=401, **RESPONSE), {"status_code": 401, "message": "keys", **RESPONSE}),
    (PermissionDeniedError("no", status_code=403, **RESPONSE), {"status_code": 403, "message": "no", **RESPONSE}),
    (NotFoundError("none", status_code=404, **RESPONSE), {"status_code": 404, "message": "none", **RESPONSE}),
    (RateLimitError("slow", status_code=429, **RESPONSE), {"status_code": 429, "message": "slow", **RESPONSE}),
    (ServerError("down", status_code=502, **RESPONSE), {"status_code": 502, "message": "down", **RESPONSE}),
    (
        ImageLockedError("locked", holder=JobRef.image_diff(9), status_code=200, **RESPONSE),
        {"diff_id": 9, "status_code": 200, "message": "locked", **RESPONSE},
    ),
    (
        InvalidResponseError("unreadable", fields=("diffid", "jobeta"), body="<html>"),
        {"fields": ("diffid", "jobeta"), "body": "<html>"},
    ),
    (
        OutcomeUnknownError("image_updates.create", candidate=JobRef.image_update(7), lock=JobRef.image_update(7)),
        {"call": "image_updates.create", "candidate": JobRef.image_update(7), "lock": JobRef.image_update(7)},
    ),
    (
        RetryOutcomeUnknownError(JobRef.image_diff(5)),
        {"ref": JobRef.image_diff(5), "diff_id": 5, "update_id": None, "call": "image_diffs.retry", "candidate": None},
    ),
    (ReleaseError("lost", step=ReleaseStep.DIFF, token=TOKEN, job=JOB), {"token": TOKEN, "step": "diff", "job": JOB}),
    (ReleaseRejectedError("no", step=ReleaseStep.APPROVE, token=TOKEN), {"token": TOKEN, "step": "approve"}),
    (ReleaseSupersededError("newer", step=ReleaseStep.ROLLOUT, token=TOKEN), {"token": TOKEN, "step": "rollout"}),
    (ReleaseTimeoutError("late", step=ReleaseStep.UPDATE, token=TOKEN), {"token": TOKEN, "step": "update"}),
    (
        RolloutError("failed", step=ReleaseStep.ROLLOUT, token=TOKEN, rollout=ROLLOUT),
        {"token": TOKEN, "step": "rollout", "rollout": ROLLOUT},
    ),
    (JobFailedError(JOB), {"job": JOB}),
    (JobSquashedError(JOB), {"job": JOB}),
    (StaleJobError(REF, JOB), {"ref": REF, "last_job": JOB}),
    (WatchClosedError(REF), {"ref": REF, "last_job": None}),
    (WatchTimeoutError(REF, JOB), {"ref": REF, "last_job": JOB}),
]

each_error = pytest.mark.parametrize(("error", "attributes"), ERRORS, ids=[type(error).__name__ for error, _ in ERRORS])


def assert_same(twin: ClanforgeError, error: ClanforgeError, attributes: dict[str, Any]) -> None:
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert twin.args == error.args
    for name, value in attributes.items():
        assert getattr(twin, name) == value


def public_bases(cls: type[BaseException]) -> set[type[BaseException]]:
    known = {ClanforgeError, ValueError, TimeoutError, *TREE}
    return {ancestor for ancestor in cls.__mro__[1:] if ancestor in known}


@pytest.mark.parametrize("cls", TREE)
def test_each_error_has_its_documented_bases(cls: type[ClanforgeError]) -> None:
    """An error can be caught as each error above it in the tree, and as no other."""
    expected = set(TREE[cls])
    for parent in TREE[cls]:
        expected |= public_bases(parent)
    assert public_bases(cls) == expected


def test_the_tree_is_complete() -> None:
    """Every public error is in the tree, and the tree has no other."""
    exported = {getattr(clanforge_async, name) for name in clanforge_async.__all__}
    errors = {thing for thing in exported if isinstance(thing, type) and issubclass(thing, BaseException)}
    assert errors == {ClanforgeError, *TREE}


def test_the_base_is_an_ordinary_exception() -> None:
    """The base is a plain ``Exception``, so that ``except Exception`` catches every error."""
    assert ClanforgeError.__bases__ == (Exception,)


def test_every_error_has_an_example() -> None:
    """The examples of the following tests include every error."""
    assert {type(error) for error, _ in ERRORS} == {ClanforgeError, *TREE}


@each_error
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_every_error_can_be_pickled(error: ClanforgeError, attributes: dict[str, Any], protocol: int) -> None:
    """An unpickled error has the class, the text and the attributes of the original."""
    twin = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 - the claim is about pickling
    assert_same(twin, error, attributes)


@each_error
def test_every_error_can_be_copied(error: ClanforgeError, attributes: dict[str, Any]) -> None:
    """A shallow or deep copy is another object with the class, the text and the attributes of the original."""
    for twin in (copy.copy(error), copy.deepcopy(error)):
        assert twin is not error
        assert_same(twin, error, attributes)


def test_a_copy_has_its_own_attributes() -> None:
    """Setting an attribute of a copy leaves the original unchanged."""
    error = RateLimitError("slow", status_code=429, retry_after=90.0)
    twin = copy.copy(error)
    twin.retry_after = 30.0
    assert error.retry_after == 90.0


def test_a_cause_of_this_package_is_pickled() -> None:
    """An unpickled error has its cause if that is a `ClanforgeError`."""
    error = RetryOutcomeUnknownError(JobRef.image_diff(5))
    error.__cause__ = RequestTimeoutError("no response in time", request_sent=True)
    twin = pickle.loads(pickle.dumps(error))  # noqa: S301 - the claim is about pickling
    assert isinstance(twin.__cause__, RequestTimeoutError)
    assert twin.__cause__.request_sent
    assert str(twin.__cause__) == "no response in time"


def test_another_cause_is_not_pickled() -> None:
    """A cause from another library, which may not be picklable, is omitted."""

    class UnpicklableError(Exception):
        def __reduce__(self) -> str:
            raise TypeError

    error = TransportError("refused", request_sent=False)
    error.__cause__ = UnpicklableError()
    twin = pickle.loads(pickle.dumps(error))  # noqa: S301 - the claim is about pickling
    assert twin.__cause__ is None
    assert twin.request_sent is False


def test_notes_are_pickled() -> None:
    """An unpickled error has its notes."""
    error = TransportError("refused", request_sent=False)
    error.add_note("while it rained")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["while it rained"]  # noqa: S301 - as above


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            APIError("teapot", status_code=418, error_code=12, url="https://api.example/x"),
            "teapot (HTTP 418, error code 12: GET https://api.example/x)",
        ),
        (
            ServerError("Bad Gateway", status_code=502, url="https://api.example/x"),
            "Bad Gateway (HTTP 502: GET https://api.example/x)",
        ),
        (TransportError("refused", request_sent=False), "refused"),
        (InvalidResponseError("not a JSON object", body="<html>"), "not a JSON object"),
        (JobFailedError(JOB), "image-diff/5 failed: no space left"),
        (JobSquashedError(JOB), "image-diff/5 was squashed by a newer job: no space left"),
        (
            JobFailedError(ImageDiffJob(id=5, state=JobState.FAILED, created_at=TIME, updated_at=TIME)),
            "image-diff/5 failed",
        ),
        (RetryOutcomeUnknownError(JobRef.image_diff(5)), "the retry of image diff 5 may or may not have happened"),
        (WatchTimeoutError(REF, JOB), "timed out: image-diff/5@1763769600 (last seen Failed at 40 %)"),
        (WatchClosedError(REF), "the watcher was closed: image-diff/5@1763769600 (no status received)"),
        (StaleJobError(REF), "the server still shows the previous run: image-diff/5@1763769600 (no status received)"),
    ],
)
def test_a_message_names_the_failure(error: ClanforgeError, text: str) -> None:
    """A message names the failed object and the failure, then quotes the server."""
    assert str(error) == text


def test_missing_attributes_are_empty() -> None:
    """Attributes that the response does not provide are None or empty."""
    error = APIError("teapot", status_code=418)
    locked = ImageLockedError("locked", holder=JobRef.image_diff(9), status_code=200)
    for silent in (error, locked):
        assert (silent.error_code, silent.retry_after) == (None, None)
        assert (silent.method, silent.url, silent.body) == ("GET", "", "")
    unreadable = InvalidResponseError("not a JSON object")
    assert (unreadable.fields, unreadable.body) == ((), "")


def test_a_message_quotes_at_most_500_characters() -> None:
    """A message quotes at most 500 characters of a job's error or state; the job has the full text."""
    job = attrs.evolve(JOB, error="x" * 5000, state=None, state_id=99, state_name="y" * 5000)
    for error in (JobFailedError(job), JobSquashedError(job)):
        assert str(error).count("x") == 500
        assert error.job.error == "x" * 5000
    for cls in (StaleJobError, WatchClosedError, WatchTimeoutError):
        assert str(cls(job.ref, job)).count("y") == 500
