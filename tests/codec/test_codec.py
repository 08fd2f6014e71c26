"""Parsing and writing jobs as JSON: the documented cases, and the quirks of servers."""

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
    JobKind.IMAGE_UPDATE: {"updateid", "jobcreated", "jobupdated", "jobfailed", "jobprogress", "jobstatename"},
    JobKind.IMAGE_DIFF: {"diffid", "jobcreated", "jobupdated", "jobfailed", "jobprogress", "jobstatename"},
    JobKind.IMAGE_VERSION: {"imageversionid", "jobcreated", "jobupdated", "jobfailed", "jobprogress", "jobstatename"},
}
REQUIRED_FIELDS = [(kind, field) for kind in KINDS for field in sorted(REQUIRED[kind])]


def at(seconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


def invalid_fields(kind: JobKind, body: dict[str, Any]) -> set[str]:
    with pytest.raises(InvalidResponseError) as raised:
        job_from_dict(kind, body)
    assert len(set(raised.value.fields)) == len(raised.value.fields)
    for field in raised.value.fields:
        assert field in str(raised.value)
    return set(raised.value.fields)


def test_a_documented_diff_is_parsed() -> None:
    """Each documented field of an image diff is an attribute of the job."""
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


def test_a_documented_version_is_parsed() -> None:
    """Each documented field of an image version is an attribute of the job."""
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


def test_times_are_aware_and_in_utc() -> None:
    """Every time of a job is an aware datetime in UTC, even before 1970 or far in the future."""
    job = job_from_dict(JobKind.IMAGE_DIFF, wire(5, jobcreated=-1, jobupdated=253402300799, jobeta=0))
    assert job.created_at == datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert job.updated_at == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert job.eta == datetime(1970, 1, 1, tzinfo=UTC)
    for moment in (job.created_at, job.updated_at, job.started_at, job.eta):
        assert moment is not None
        assert moment.tzinfo is UTC


@pytest.mark.parametrize("number", ["40", " 40 ", "+40", "040", "40.0", "40.", 40.0])
def test_a_number_may_be_text_or_float(number: object) -> None:
    """Text of a whole number and an integral float are numbers in every numeric field."""
    body = wire(5) | dict.fromkeys(
        ("diffid", "jobcreated", "jobupdated", "jobeta", "jobstart", "jobfailed", "jobprogress"), number
    )
    job = job_from_dict(JobKind.IMAGE_DIFF, body)
    assert (job.id, job.progress, job.failure_count) == (40, 40, 40)
    assert job.created_at == job.updated_at == job.started_at == job.eta == at(40)


@pytest.mark.parametrize("number", ["5", "5.0", 5.0, " 5"])
def test_a_state_id_may_be_text_or_float(number: object) -> None:
    """``jobstateid`` is accepted in each form of a number."""
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
def test_a_flag_is_parsed_by_meaning(said: object, meant: bool) -> None:
    """``success`` may be a bool, a number or text; null counts as absent."""
    assert job_from_dict(JobKind.IMAGE_VERSION, wire(5, success=said)).success is meant


def test_a_missing_success_is_true() -> None:
    """Without ``success`` the job has ``success`` True."""
    body = wire(5)
    del body["success"]
    assert job_from_dict(JobKind.IMAGE_VERSION, body).success is True


@pytest.mark.parametrize("said", ["maybe", "", 2, -1, 0.5, [], {}, math.nan])
def test_an_invalid_flag_is_reported(said: object) -> None:
    """A ``success`` that is neither true nor false is an invalid field."""
    assert invalid_fields(JobKind.IMAGE_VERSION, wire(5, success=said)) == {"success"}


@pytest.mark.parametrize("field", ["jobstart", "jobeta"])
@pytest.mark.parametrize("blank", ["", "  ", None])
def test_a_blank_time_is_absent(field: str, blank: str | None) -> None:
    """An optional time that is sent as blank text is absent; a required one is invalid."""
    job = job_from_dict(JobKind.IMAGE_DIFF, wire(5) | {field: blank})
    assert (job.started_at if field == "jobstart" else job.eta) is None
    with pytest.raises(InvalidResponseError) as raised:
        job_from_dict(JobKind.IMAGE_DIFF, wire(5) | {"jobupdated": blank})
    assert raised.value.fields == ("jobupdated",)


@pytest.mark.parametrize("field", ["diffid", "jobcreated", "jobupdated", "jobprogress", "jobfailed", "jobstateid"])
def test_any_other_blank_number_is_reported(field: str) -> None:
    """Blank text is not a number."""
    assert invalid_fields(JobKind.IMAGE_DIFF, wire(5) | {field: ""}) == {field}


@pytest.mark.parametrize(
    ("said", "meant"), [(True, 1), (False, 0), (0, 0), (3, 3), ("2", 2), (2.0, 2), ("true", 1), ("False", 0)]
)
def test_jobfailed_is_a_flag_or_a_count(said: object, meant: int) -> None:
    """``jobfailed``, documented as a flag on one page and as a count on another, is parsed as a count."""
    assert job_from_dict(JobKind.IMAGE_DIFF, wire(5, jobfailed=said)).failure_count == meant


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("name", ["Completed", "Failed", "Running", "Something new", ""])
def test_a_known_state_id_wins_over_the_name(kind: JobKind, state: JobState, name: str) -> None:
    """A known ``jobstateid`` alone decides the state; the name is stored as sent."""
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
def test_without_a_state_id_the_name_decides(name: str, state: JobState | None, absent: bool) -> None:
    """If ``jobstateid`` is null or absent, the name decides the state, ignoring case."""
    body = wire(5, jobstateid=None, jobstatename=name)
    if absent:
        del body["jobstateid"]
    job = job_from_dict(JobKind.IMAGE_VERSION, body)
    assert (job.state, job.state_id, job.state_name) == (state, None, name)


@pytest.mark.parametrize("number", [0, 8, 99, -1, "8", 10**20])
@pytest.mark.parametrize("name", ["Completed", "Failed", "Rolling back"])
def test_an_unknown_state_id_stays_unknown(number: object, name: str) -> None:
    """An unknown ``jobstateid`` gives no state, even with a known name, and is not terminal."""
    job = job_from_dict(JobKind.IMAGE_DIFF, wire(5, jobstateid=number, jobstatename=name))
    assert job.state is None
    assert job.state_id == int(str(number))
    assert job.state_name == name
    assert not job.is_terminal


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("failed", [0, 1, 7, True])
def test_jobfailed_never_decides_the_state(state: JobState, failed: object) -> None:
    """A job with earlier failures is running or completed, according to its state."""
    for body in (wire(5, state, jobfailed=failed), wire(5, state, jobfailed=failed, jobstateid=None)):
        assert job_from_dict(JobKind.IMAGE_DIFF, body).state is state


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_fields_are_ignored(kind: JobKind) -> None:
    """Fields that this release does not know change nothing."""
    extra = {"state": 1, "id": 3, "kind": 4, "newer_than": 5, "created_at": 6, "details": 7, "error": "x", "": None}
    assert job_from_dict(kind, wire(5) | extra) == job_from_dict(kind, wire(5))


@pytest.mark.parametrize("empty", [None, [], {}])
def test_missing_files_are_an_empty_mapping(empty: object) -> None:
    """Listings that are null, empty or an empty list are empty mappings; null ones are not written."""
    job = job_from_dict(JobKind.IMAGE_DIFF, wire(5, added=empty, modified=empty, removed=empty))
    assert (job.added, job.modified, job.removed) == ({}, {}, {})
    written = {"added", "modified", "removed"} & job_to_dict(job).keys()
    assert len(written) == (0 if empty is None else 3)


@pytest.mark.parametrize(
    ("files", "state", "is_empty"),
    [
        ({}, 5, None),
        ({"added": None, "modified": None, "removed": None}, 5, None),
        ({"added": {}}, 5, True),
        ({"added": [], "modified": {}, "removed": None}, 5, True),
        ({"removed": {"a.txt": {}}}, 5, False),
        ({"added": {}, "modified": {"a.txt": {}}}, 5, False),
        ({"added": {}}, 4, None),
        ({"added": {}}, 6, None),
        ({"added": {}}, 99, None),
    ],
)
def test_a_diff_is_empty_if_a_completed_listing_is(files: dict[str, Any], state: int, is_empty: bool | None) -> None:
    """A completed diff is empty if the server sent empty listings; without listings, this is not known."""
    job = job_from_dict(JobKind.IMAGE_DIFF, wire(5) | {"jobstateid": state} | files)
    assert job.is_empty is is_empty
    assert job_from_dict(JobKind.IMAGE_DIFF, job_to_dict(job)).is_empty is is_empty


def test_details_are_parsed_if_present() -> None:
    """``details`` has the game, machine and image of the response, and is None without any."""
    job = job_from_dict(JobKind.IMAGE_DIFF, wire(5, image={"imageid": 3}, game=None))
    assert job.details is not None
    assert (job.details.game, job.details.machine, job.details.image) == (None, None, {"imageid": 3})
    assert job_from_dict(JobKind.IMAGE_DIFF, wire(5, image=None)).details is None


@pytest.mark.parametrize(("kind", "field"), REQUIRED_FIELDS)
def test_a_missing_field_is_reported(kind: JobKind, field: str) -> None:
    """A missing required field is reported by its JSON name."""
    body = wire(5)
    del body[field]
    assert invalid_fields(kind, body) == {field}


@pytest.mark.parametrize(("kind", "field"), REQUIRED_FIELDS)
@pytest.mark.parametrize("value", [None, [], {}, [1], {"a": 1}])
def test_a_malformed_field_is_reported(kind: JobKind, field: str, value: object) -> None:
    """A required field that is null or not a scalar is reported."""
    assert invalid_fields(kind, wire(5) | {field: value}) == {field}


@pytest.mark.parametrize(
    "field", ["diffid", "jobcreated", "jobupdated", "jobeta", "jobstart", "jobprogress", "jobfailed", "jobstateid"]
)
@pytest.mark.parametrize(
    "value",
    [
        *[1.5, "1.5", "1e3", "0x10", "1_000", "soon", math.nan, math.inf, -math.inf, "nan", "9" * 5000],
        pytest.param("٤", id="arabic"),  # pytest would escape it, differently in each process
    ],
    ids=lambda value: repr(value)[:10],
)
def test_an_invalid_number_is_reported(field: str, value: object) -> None:
    """A fraction, NaN and text that is not a number are reported."""
    assert invalid_fields(JobKind.IMAGE_DIFF, wire(5) | {field: value}) == {field}


@pytest.mark.parametrize(
    "field", ["diffid", "jobcreated", "jobupdated", "jobeta", "jobstart", "jobprogress", "jobstateid"]
)
@pytest.mark.parametrize("value", [True, False])
def test_a_bool_is_not_a_number(field: str, value: bool) -> None:
    """True and false are not numbers, except for ``jobfailed``, which one page documents as a flag."""
    assert invalid_fields(JobKind.IMAGE_DIFF, wire(5) | {field: value}) == {field}


@pytest.mark.parametrize("value", [0, -1, "0", "-5"])
def test_an_id_that_is_not_positive_is_reported(value: object) -> None:
    """Ids must be positive, since a reference accepts no other."""
    assert invalid_fields(JobKind.IMAGE_DIFF, wire(5) | {"diffid": value}) == {"diffid"}
    assert invalid_fields(JobKind.IMAGE_VERSION, wire(5) | {"imageversionid": value}) == {"imageversionid"}


@pytest.mark.parametrize("field", ["jobcreated", "jobupdated", "jobeta", "jobstart"])
@pytest.mark.parametrize("value", [253402300800, -62135596801, 10**15, "99999999999999999999", 1e300, -1e300])
def test_a_time_out_of_range_is_reported(field: str, value: object) -> None:
    """A timestamp that no datetime can represent, such as one in milliseconds, is reported."""
    assert invalid_fields(JobKind.IMAGE_DIFF, wire(5) | {field: value}) == {field}


@pytest.mark.parametrize("field", ["diffid", "jobcreated", "jobprogress"])
def test_a_huge_number_causes_no_other_error(field: str) -> None:
    """A number with more digits than Python converts to text is parsed or reported like any other."""
    body = wire(5, jobupdated=None) | {field: 10**5000}
    assert "jobupdated" in invalid_fields(JobKind.IMAGE_DIFF, body)


@pytest.mark.parametrize("field", ["jobstatename", "joberror"])
@pytest.mark.parametrize("value", [[], {}, True])
def test_invalid_text_is_reported(field: str, value: object) -> None:
    """A list, an object or a bool in a text field is reported."""
    assert invalid_fields(JobKind.IMAGE_DIFF, wire(5) | {field: value}) == {field}


def test_text_may_be_a_number() -> None:
    """A number in a text field is converted to text."""
    job = job_from_dict(JobKind.IMAGE_DIFF, wire(5, joberror=404, jobstatename=12.5))
    assert (job.error, job.state_name) == ("404", "12.5")


@pytest.mark.parametrize("field", ["added", "modified", "removed", "game", "machine", "image"])
@pytest.mark.parametrize("value", ["files", 3, True, ["a"]])
def test_an_invalid_object_is_reported(field: str, value: object) -> None:
    """Anything else in an object field is reported, including game, machine and image."""
    assert invalid_fields(JobKind.IMAGE_DIFF, wire(5) | {field: value}) == {field}


@pytest.mark.parametrize("kind", KINDS)
def test_every_invalid_field_is_reported(kind: JobKind) -> None:
    """Several invalid fields are all reported."""
    assert invalid_fields(kind, {}) == REQUIRED[kind]
    (ours,) = (field for field in REQUIRED[kind] if field.endswith("id"))
    body = wire(5, jobcreated=1.5, jobupdated="soon", jobprogress=math.nan, jobstateid=True, jobeta=10**15)
    assert invalid_fields(kind, body | {ours: None}) == {
        ours,
        "jobcreated",
        "jobeta",
        "jobprogress",
        "jobstateid",
        "jobupdated",
    }


def test_invalid_details_are_reported_with_other_fields() -> None:
    """An invalid game and machine are reported together with an invalid field of the job."""
    assert invalid_fields(JobKind.IMAGE_DIFF, wire(5, game=1, machine="x", jobfailed=None)) == {
        "game",
        "machine",
        "jobfailed",
    }


@pytest.mark.parametrize("body", [None, [], "text", 5, True, [wire(5)]])
def test_only_a_mapping_is_a_job(body: Any) -> None:
    """Anything but a mapping is an `InvalidResponseError`."""
    with pytest.raises(InvalidResponseError, match=f"^expected an object, not {type(body).__name__}$") as raised:
        job_from_dict(JobKind.IMAGE_DIFF, body)
    assert raised.value.fields == ()


def test_any_mapping_is_accepted() -> None:
    """The argument need not be a ``dict``, and is not modified."""
    body = wire(5)
    before = dict(body)
    assert job_from_dict(JobKind.IMAGE_DIFF, MappingProxyType(body)) == job_from_dict(JobKind.IMAGE_DIFF, body)
    assert body == before


def test_keys_need_not_be_text() -> None:
    """A mapping with keys that JSON cannot have reports only its invalid fields, and has no body."""
    body: dict[Any, Any] = {("a", "b"): 1}
    assert invalid_fields(JobKind.IMAGE_VERSION, body) == REQUIRED[JobKind.IMAGE_VERSION]
    with pytest.raises(InvalidResponseError) as raised:
        job_from_dict(JobKind.IMAGE_VERSION, body)
    assert raised.value.body == ""


def test_the_error_keeps_2_kib_of_the_body() -> None:
    """The error keeps the first 2 KiB of the body."""
    with pytest.raises(InvalidResponseError) as raised:
        job_from_dict(JobKind.IMAGE_DIFF, {"diffid": 5, "padding": "x" * 5000})
    assert len(raised.value.body) == 2048
    assert raised.value.body.startswith('{"diffid": 5')


def test_the_error_keeps_values_without_a_json_form_as_text() -> None:
    """In the error's body, values that JSON cannot represent are text."""
    with pytest.raises(InvalidResponseError) as raised:
        job_from_dict(JobKind.IMAGE_DIFF, {"diffid": at(0)})
    assert raised.value.body == '{"diffid": "1970-01-01 00:00:00+00:00"}'


def test_a_kind_may_be_text() -> None:
    """`job_from_dict` accepts the text of a kind, and no other text."""
    body = wire(5)
    job = job_from_dict("image-diff", body)  # type: ignore[call-overload] # what callers who check no types do
    assert job == job_from_dict(JobKind.IMAGE_DIFF, body)
    with pytest.raises(ValueError, match="image-install"):
        job_from_dict("image-install", body)  # type: ignore[call-overload] # the claim is that this fails
