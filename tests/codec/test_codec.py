"""Reading and writing jobs in the API's own form: the documented cases, and what servers make of them."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest
from support.scripted_server import wire

from clanforge_async import (
    ImageDiffJob,
    ImageVersionJob,
    InvalidResponseError,
    JobKind,
    JobState,
    job_from_dict,
    job_to_dict,
)

KINDS = list(JobKind)
REQUIRED = {
    JobKind.IMAGE_DIFF: {"diffid", "jobcreated", "jobupdated", "jobfailed", "jobprogress", "jobstatename"},
    JobKind.IMAGE_VERSION: {"imageversionid", "jobcreated", "jobupdated", "jobfailed", "jobprogress", "jobstatename"},
}
REQUIRED_FIELDS = [(kind, field) for kind in KINDS for field in sorted(REQUIRED[kind])]


def at(seconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


def faults(kind: JobKind, body: dict[str, Any]) -> set[str]:
    with pytest.raises(InvalidResponseError) as refused:
        job_from_dict(kind, body)
    assert len(set(refused.value.fields)) == len(refused.value.fields)
    for field in refused.value.fields:
        assert field in str(refused.value)
    return set(refused.value.fields)


def test_a_documented_diff_is_read() -> None:
    """Each documented field of an image diff has its place on the job."""
    body = {
        "diffid": 5678,
        "jobcreated": 1763769600,
        "joberror": "no space left",
        "jobeta": 1763769660,
        "jobfailed": 2,
        "jobprogress": 40,
        "jobstart": "1763769610",
        "jobstateid": 4,
        "jobstatename": "Running",
        "jobupdated": 1763769620,
        "added": {"a": {"size": 1}},
        "modified": {"m": {}},
        "removed": {"r": {}},
        "game": {"gameid": 1},
        "machine": {"machineid": 2},
        "image": {"imageid": 3},
    }
    job = job_from_dict(JobKind.IMAGE_DIFF, body)
    assert isinstance(job, ImageDiffJob)
    assert (job.diff_id, job.state, job.state_id, job.state_name) == (5678, JobState.RUNNING, 4, "Running")
    assert (job.created_at, job.updated_at) == (at(1763769600), at(1763769620))
    assert (job.started_at, job.eta) == (at(1763769610), at(1763769660))
    assert (job.progress, job.failure_count, job.error) == (40, 2, "no space left")
    assert (job.added, job.modified, job.removed) == ({"a": {"size": 1}}, {"m": {}}, {"r": {}})
    assert job.details is not None
    assert (job.details.game, job.details.machine, job.details.image) == (
        {"gameid": 1},
        {"machineid": 2},
        {"imageid": 3},
    )
    assert job_to_dict(job) == body


def test_a_documented_version_is_read() -> None:
    """Each documented field of an image version has its place on the job."""
    body = {
        "imageversionid": 9012,
        "jobcreated": 1763769600,
        "joberror": None,
        "jobeta": None,
        "jobfailed": 0,
        "jobprogress": 100,
        "jobstart": None,
        "jobstateid": 5,
        "jobstatename": "Completed",
        "jobupdated": 1763769620,
        "success": True,
    }
    job = job_from_dict(JobKind.IMAGE_VERSION, body)
    assert isinstance(job, ImageVersionJob)
    assert (job.image_version_id, job.state, job.success) == (9012, JobState.COMPLETED, True)
    assert (job.started_at, job.eta, job.error) == (None, None, None)
    assert job_to_dict(job) == body


def test_moments_are_aware_and_in_utc() -> None:
    """Every time of a job is an aware datetime in UTC, also one before 1970 or far ahead."""
    job = job_from_dict(JobKind.IMAGE_DIFF, wire(5, jobcreated=-1, jobupdated=253402300799, jobeta=0))
    assert job.created_at == datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert job.updated_at == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert job.eta == datetime(1970, 1, 1, tzinfo=UTC)
    for moment in (job.created_at, job.updated_at, job.started_at, job.eta):
        assert moment is not None
        assert moment.tzinfo is UTC


@pytest.mark.parametrize("number", ["40", " 40 ", "+40", "040", "40.0", "40.", 40.0])
def test_a_number_may_be_written_otherwise(number: object) -> None:
    """Text that is a whole number, and a whole-numbered float, are numbers in every numeric field."""
    body = wire(5) | dict.fromkeys(
        ("diffid", "jobcreated", "jobupdated", "jobeta", "jobstart", "jobfailed", "jobprogress"), number
    )
    job = job_from_dict(JobKind.IMAGE_DIFF, body)
    assert (job.id, job.progress, job.failure_count) == (40, 40, 40)
    assert job.created_at == job.updated_at == job.started_at == job.eta == at(40)


@pytest.mark.parametrize("number", ["5", "5.0", 5.0, " 5"])
def test_a_state_id_may_be_written_otherwise(number: object) -> None:
    """A state's number is known in each of the forms that a number may take."""
    job = job_from_dict(JobKind.IMAGE_VERSION, wire(5, jobstateid=number, jobstatename="Running"))
    assert (job.state, job.state_id) == (JobState.COMPLETED, 5)


@pytest.mark.parametrize(
    ("said", "kept"), [(-20, 0), (0, 0), (40, 40), (100, 100), (101, 100), ("250", 100), (1e9, 100)]
)
def test_progress_is_a_percentage(said: object, kept: int) -> None:
    """Progress is clamped to 0..100."""
    assert job_from_dict(JobKind.IMAGE_DIFF, wire(5, jobprogress=said)).progress == kept


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        *[(value, True) for value in (True, 1, 1.0, "true", "True", " TRUE ", "1", "yes", "on")],
        *[(value, False) for value in (False, 0, 0.0, "false", "False", "FALSE", "0", "no", "off")],
        (None, True),
    ],
)
def test_a_flag_is_read_by_meaning(said: object, meant: bool) -> None:
    """``success`` is what was meant, however it was written; null says as little as its absence."""
    assert job_from_dict(JobKind.IMAGE_VERSION, wire(5, success=said)).success is meant


def test_a_missing_success_is_true() -> None:
    """An answer that does not mention ``success`` succeeded."""
    body = wire(5)
    del body["success"]
    assert job_from_dict(JobKind.IMAGE_VERSION, body).success is True


@pytest.mark.parametrize("said", ["maybe", "", 2, -1, 0.5, [], {}, math.nan])
def test_a_flag_that_means_nothing_is_refused(said: object) -> None:
    """A ``success`` that is neither true nor false is at fault."""
    assert faults(JobKind.IMAGE_VERSION, wire(5, success=said)) == {"success"}


@pytest.mark.parametrize(("said", "meant"), [(True, 1), (False, 0), (0, 0), (1, 1), (3, 3), ("2", 2), (2.0, 2)])
def test_jobfailed_is_a_flag_or_a_count(said: object, meant: int) -> None:
    """``jobfailed``, documented as a flag here and as a count there, is read as a count."""
    assert job_from_dict(JobKind.IMAGE_DIFF, wire(5, jobfailed=said)).failure_count == meant


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("name", ["Completed", "Failed", "Running", "Something new", ""])
def test_a_known_id_wins_over_the_name(kind: JobKind, state: JobState, name: str) -> None:
    """Where ``jobstateid`` is known it alone decides, and the name is kept as it was given."""
    job = job_from_dict(kind, wire(5, state, jobstatename=name))
    assert (job.state, job.state_id, job.state_name) == (state, int(state), name)


@pytest.mark.parametrize("absent", [True, False])
@pytest.mark.parametrize(
    ("name", "state"),
    [
        *[(state.name.title(), state) for state in JobState],
        *[(state.name.lower(), state) for state in JobState],
        *[(state.name, state) for state in JobState],
        ("Complete", JobState.COMPLETED),
        ("complete", JobState.COMPLETED),
        ("COMPLETE", JobState.COMPLETED),
        (" Running ", JobState.RUNNING),
        ("Rolling back", None),
        ("", None),
        ("5", None),
    ],
)
def test_without_an_id_the_name_decides(name: str, state: JobState | None, absent: bool) -> None:
    """Where ``jobstateid`` is null or absent the name tells the state, without regard to case."""
    body = wire(5, jobstateid=None, jobstatename=name)
    if absent:
        del body["jobstateid"]
    job = job_from_dict(JobKind.IMAGE_VERSION, body)
    assert (job.state, job.state_id, job.state_name) == (state, None, name)


@pytest.mark.parametrize("number", [0, 8, 99, -1, "8", 10**20])
@pytest.mark.parametrize("name", ["Completed", "Failed", "Rolling back"])
def test_an_unknown_id_stays_unknown(number: object, name: str) -> None:
    """An id that this release does not know is no state, even under a name that it knows, and no end."""
    job = job_from_dict(JobKind.IMAGE_DIFF, wire(5, jobstateid=number, jobstatename=name))
    assert job.state is None
    assert job.state_id == int(str(number))
    assert job.state_name == name
    assert not job.is_terminal


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("failed", [0, 1, 7, True])
def test_jobfailed_never_decides_the_state(state: JobState, failed: object) -> None:
    """A job that has failed before, and runs again, runs; one that completed, completed."""
    for body in (wire(5, state, jobfailed=failed), wire(5, state, jobfailed=failed, jobstateid=None)):
        assert job_from_dict(JobKind.IMAGE_DIFF, body).state is state


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_fields_are_ignored(kind: JobKind) -> None:
    """Fields that this release does not know change nothing."""
    extra = {"state": 1, "id": 3, "kind": 4, "newer_than": 5, "created_at": 6, "details": 7, "error": "x", "": None}
    assert job_from_dict(kind, wire(5) | extra) == job_from_dict(kind, wire(5))


@pytest.mark.parametrize("empty", [None, [], {}])
def test_no_files_are_an_empty_mapping(empty: object) -> None:
    """Listings that are null, empty or, as some servers write it, an empty list are empty, and are not written."""
    job = job_from_dict(JobKind.IMAGE_DIFF, wire(5, added=empty, modified=empty, removed=empty))
    assert (job.added, job.modified, job.removed) == ({}, {}, {})
    assert not {"added", "modified", "removed"} & job_to_dict(job).keys()


def test_details_are_there_where_the_answer_has_any() -> None:
    """Details hold what the answer told of game, machine and image; an answer that told nothing has none."""
    job = job_from_dict(JobKind.IMAGE_DIFF, wire(5, image={"imageid": 3}, game=None))
    assert job.details is not None
    assert (job.details.game, job.details.machine, job.details.image) == (None, None, {"imageid": 3})
    assert job_from_dict(JobKind.IMAGE_DIFF, wire(5, image=None)).details is None


@pytest.mark.parametrize(("kind", "field"), REQUIRED_FIELDS)
def test_a_missing_field_is_named(kind: JobKind, field: str) -> None:
    """A required field that is absent is at fault, by its wire name."""
    body = wire(5)
    del body[field]
    assert faults(kind, body) == {field}


@pytest.mark.parametrize(("kind", "field"), REQUIRED_FIELDS)
@pytest.mark.parametrize("value", [None, [], {}, [1], {"a": 1}])
def test_a_malformed_field_is_named(kind: JobKind, field: str, value: object) -> None:
    """A required field that is null, or no scalar at all, is at fault."""
    assert faults(kind, wire(5) | {field: value}) == {field}


@pytest.mark.parametrize(
    "field", ["diffid", "jobcreated", "jobupdated", "jobeta", "jobstart", "jobprogress", "jobfailed", "jobstateid"]
)
@pytest.mark.parametrize(
    "value",
    [
        *[1.5, "1.5", "1e3", "0x10", "1_000", "", "soon", math.nan, math.inf, -math.inf, "nan", "9" * 5000],
        pytest.param("٤", id="arabic"),  # which pytest would escape, and in one process never twice alike
    ],
    ids=lambda value: repr(value)[:10],
)
def test_a_number_that_is_none_is_named(field: str, value: object) -> None:
    """A fractional number, one that is not a number, and text that is not one, are at fault."""
    assert faults(JobKind.IMAGE_DIFF, wire(5) | {field: value}) == {field}


@pytest.mark.parametrize(
    "field", ["diffid", "jobcreated", "jobupdated", "jobeta", "jobstart", "jobprogress", "jobstateid"]
)
@pytest.mark.parametrize("value", [True, False])
def test_a_truth_is_no_number(field: str, value: bool) -> None:
    """True and false are no numbers, but for ``jobfailed``, which one page documents as a flag."""
    assert faults(JobKind.IMAGE_DIFF, wire(5) | {field: value}) == {field}


@pytest.mark.parametrize("value", [0, -1, "0", "-5"])
def test_an_id_that_no_job_has_is_named(value: object) -> None:
    """Ids are positive: a job of any other could not be referred to."""
    assert faults(JobKind.IMAGE_DIFF, wire(5) | {"diffid": value}) == {"diffid"}
    assert faults(JobKind.IMAGE_VERSION, wire(5) | {"imageversionid": value}) == {"imageversionid"}


@pytest.mark.parametrize("field", ["jobcreated", "jobupdated", "jobeta", "jobstart"])
@pytest.mark.parametrize("value", [253402300800, -62135596801, 10**15, "99999999999999999999", 1e300, -1e300])
def test_a_moment_that_no_datetime_holds_is_named(field: str, value: object) -> None:
    """A timestamp, such as one in milliseconds, that no datetime can hold is at fault."""
    assert faults(JobKind.IMAGE_DIFF, wire(5) | {field: value}) == {field}


@pytest.mark.parametrize("field", ["diffid", "jobcreated", "jobprogress"])
def test_no_number_is_too_large_to_be_refused(field: str) -> None:
    """A number of more digits than Python converts to text is refused or read like any other."""
    body = wire(5, jobupdated=None) | {field: 10**5000}
    assert "jobupdated" in faults(JobKind.IMAGE_DIFF, body)


@pytest.mark.parametrize("field", ["jobstatename", "joberror"])
@pytest.mark.parametrize("value", [[], {}, True])
def test_text_that_is_none_is_named(field: str, value: object) -> None:
    """Where text belongs, a list, an object or a truth is at fault."""
    assert faults(JobKind.IMAGE_DIFF, wire(5) | {field: value}) == {field}


def test_text_may_arrive_as_a_number() -> None:
    """Where text belongs a number is text, as the reverse holds for numbers."""
    job = job_from_dict(JobKind.IMAGE_DIFF, wire(5, joberror=404, jobstatename=12.5))
    assert (job.error, job.state_name) == ("404", "12.5")


@pytest.mark.parametrize("field", ["added", "modified", "removed", "game", "machine", "image"])
@pytest.mark.parametrize("value", ["files", 3, True, ["a"]])
def test_an_object_that_is_none_is_named(field: str, value: object) -> None:
    """Where an object belongs anything else is at fault, game, machine and image included."""
    assert faults(JobKind.IMAGE_DIFF, wire(5) | {field: value}) == {field}


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_at_fault_is_named(kind: JobKind) -> None:
    """Of several fields at fault none is left out."""
    assert faults(kind, {}) == REQUIRED[kind]
    ours = "diffid" if kind is JobKind.IMAGE_DIFF else "imageversionid"
    body = wire(5, jobcreated=1.5, jobupdated="soon", jobprogress=math.nan, jobstateid=True, jobeta=10**15)
    assert faults(kind, body | {ours: None}) == {
        ours,
        "jobcreated",
        "jobeta",
        "jobprogress",
        "jobstateid",
        "jobupdated",
    }


def test_a_diff_with_several_faults_in_its_details_names_them() -> None:
    """Game and machine at fault beside a field of the job are all named."""
    assert faults(JobKind.IMAGE_DIFF, wire(5, game=1, machine="x", jobfailed=None)) == {"game", "machine", "jobfailed"}


@pytest.mark.parametrize("body", [None, [], "text", 5, True, [wire(5)]])
def test_only_an_object_is_a_job(body: Any) -> None:
    """Something that is no mapping is refused as an answer that cannot be read."""
    with pytest.raises(InvalidResponseError, match=f"^expected an object, not {type(body).__name__}$") as refused:
        job_from_dict(JobKind.IMAGE_DIFF, body)
    assert refused.value.fields == ()


def test_any_mapping_is_an_object() -> None:
    """What is read need not be a ``dict``, and is not changed."""
    body = wire(5)
    before = dict(body)
    assert job_from_dict(JobKind.IMAGE_DIFF, MappingProxyType(body)) == job_from_dict(JobKind.IMAGE_DIFF, body)
    assert body == before


def test_keys_need_not_be_text() -> None:
    """A mapping whose other keys no JSON object could have is refused for its faults alone, and is no body to keep."""
    body: dict[Any, Any] = {("a", "b"): 1}
    assert faults(JobKind.IMAGE_VERSION, body) == REQUIRED[JobKind.IMAGE_VERSION]
    with pytest.raises(InvalidResponseError) as refused:
        job_from_dict(JobKind.IMAGE_VERSION, body)
    assert refused.value.body == ""


def test_the_error_keeps_the_start_of_the_body() -> None:
    """A refused body is kept on the error up to 2 KiB."""
    with pytest.raises(InvalidResponseError) as refused:
        job_from_dict(JobKind.IMAGE_DIFF, {"diffid": 5, "padding": "x" * 5000})
    assert len(refused.value.body) == 2048
    assert refused.value.body.startswith('{"diffid": 5')


def test_the_error_keeps_what_json_cannot_say_as_text() -> None:
    """A mapping that did not come from JSON is kept with the text of whatever JSON has no form for."""
    with pytest.raises(InvalidResponseError) as refused:
        job_from_dict(JobKind.IMAGE_DIFF, {"diffid": at(0)})
    assert refused.value.body == '{"diffid": "1970-01-01 00:00:00+00:00"}'


def test_a_kind_may_be_given_as_text() -> None:
    """A kind is known by its text too, and no other kind is."""
    body = wire(5)
    job = job_from_dict("image-diff", body)  # type: ignore[call-overload] # what callers who check no types do
    assert job == job_from_dict(JobKind.IMAGE_DIFF, body)
    with pytest.raises(ValueError, match="image-update"):
        job_from_dict("image-update", body)  # type: ignore[call-overload] # the claim is that this fails
