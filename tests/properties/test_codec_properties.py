"""Properties of the codec, for any job and any JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.scripted_server import wire

from clanforge_async import (
    ImageDiffJob,
    ImageVersionJob,
    InvalidResponseError,
    Job,
    JobKind,
    JobState,
    job_from_dict,
    job_to_dict,
)
from clanforge_async.jobs import ImageDiffDetails

LENIENT = settings(deadline=None, max_examples=40)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.text(), JSON, max_size=4)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.integers(-62135596800, 253402300799).map(lambda seconds: EPOCH + timedelta(seconds=seconds))
KNOWN_NAMES = {state.name.lower() for state in JobState} | {"complete"}
UNKNOWN_NAMES = st.text().filter(lambda name: name.strip().lower() not in KNOWN_NAMES)
ANY_CASE = st.sampled_from([str.lower, str.upper, str.title])
FIELDS = [*sorted(wire(5)), "added", "modified", "removed", "game", "machine", "image"]


@st.composite
def states(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a state in each form that a server can send: by id, by name only, or unknown."""
    state = draw(st.sampled_from(JobState))
    match draw(st.sampled_from(["by id", "by name", "unknown id", "unknown name"])):
        case "by id":
            return {"state": state, "state_id": int(state), "state_name": draw(st.text())}
        case "by name":
            return {"state": state, "state_id": None, "state_name": draw(ANY_CASE)(state.name)}
        case "unknown id":
            number = draw(st.integers().filter(lambda number: number not in range(1, 8)))
            return {"state": None, "state_id": number, "state_name": draw(st.text())}
        case _:
            return {"state": None, "state_id": None, "state_name": draw(UNKNOWN_NAMES)}


COMMON: dict[str, st.SearchStrategy[Any]] = {
    "id": st.integers(min_value=1),
    "created_at": MOMENTS,
    "updated_at": MOMENTS,
    "started_at": st.none() | MOMENTS,
    "eta": st.none() | MOMENTS,
    "progress": st.integers(0, 100),
    "failure_count": st.integers(min_value=0),
    "error": st.none() | st.text(),
}
DETAILS = st.builds(
    ImageDiffDetails, game=st.none() | OBJECTS, machine=st.none() | OBJECTS, image=st.none() | OBJECTS
).filter(lambda details: details != ImageDiffDetails())
DIFFS = st.builds(
    lambda state, **fields: ImageDiffJob(**state, **fields),
    state=states(),
    added=OBJECTS,
    modified=OBJECTS,
    removed=OBJECTS,
    details=st.none() | DETAILS,
    **COMMON,
)
VERSIONS = st.builds(
    lambda state, **fields: ImageVersionJob(**state, **fields), state=states(), success=st.booleans(), **COMMON
)
JOBS = DIFFS | VERSIONS


@LENIENT
@given(JOBS)
def test_a_job_survives_a_round_trip(job: Job) -> None:
    """``job_from_dict(k, job_to_dict(j)) == j`` for every job of either kind."""
    twin = job_from_dict(job.kind, job_to_dict(job))
    # A NaN in a file listing is not equal to itself.
    assert twin == job or "nan" in repr(job_to_dict(job))
    assert type(twin) is type(job)
    assert twin.state is job.state


@LENIENT
@given(JOBS)
def test_the_dict_of_a_job_is_json(job: Job) -> None:
    """``job_to_dict`` returns an object that can be encoded as JSON."""
    sent = json.loads(json.dumps(job_to_dict(job)))
    assert repr(job_from_dict(job.kind, sent)) == repr(job)
    assert sent["jobstart"] is None or isinstance(sent["jobstart"], str)


@LENIENT
@given(VERSIONS, st.sampled_from([str, float, lambda number: f" {number} ", lambda number: f"{number}.0"]))
def test_numbers_may_be_text_or_floats(job: ImageVersionJob, write: Any) -> None:
    """A job is the same whether its numbers are numbers, text or integral floats."""
    sent = job_to_dict(job)
    for name in ("jobcreated", "jobupdated", "jobeta", "jobprogress"):
        sent[name] = sent[name] if sent[name] is None else write(sent[name])
    assert job_from_dict(JobKind.IMAGE_VERSION, sent) == job


@LENIENT
@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False).filter(float.is_integer))
def test_progress_stays_a_percentage(progress: float) -> None:
    """Any whole ``jobprogress`` is clamped to 0..100, and unchanged within that range."""
    read = job_from_dict(JobKind.IMAGE_DIFF, wire(5, jobprogress=progress)).progress
    assert read == min(max(progress, 0), 100)
    assert isinstance(read, int)


@LENIENT
@given(st.floats().filter(lambda number: not number.is_integer()))
def test_no_fraction_is_a_number(number: float) -> None:
    """A fraction, infinity or NaN is never rounded to a number."""
    with pytest.raises(InvalidResponseError, match="jobprogress") as raised:
        job_from_dict(JobKind.IMAGE_DIFF, wire(5, jobprogress=number))
    assert raised.value.fields == ("jobprogress",)


@LENIENT
@given(UNKNOWN_NAMES, st.sampled_from(JobKind))
def test_an_unknown_name_is_no_state(name: str, kind: JobKind) -> None:
    """The name of an unknown state gives no state, but is stored."""
    job = job_from_dict(kind, wire(5, jobstateid=None, jobstatename=name))
    assert (job.state, job.state_name, job.is_terminal) == (None, name, False)


@LENIENT
@given(JSON, st.sampled_from(JobKind))
def test_any_json_is_parsed_or_invalid(body: Any, kind: JobKind) -> None:
    """Any JSON is parsed as a job or raises `InvalidResponseError`."""
    fault = None
    try:
        job_from_dict(kind, body)
    except InvalidResponseError as error:
        fault = error
    assert fault is None or len(fault.body) <= 2048


@LENIENT
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON)), st.sampled_from(JobKind))
def test_any_fields_are_parsed_or_reported(body: dict[str, Any], kind: JobKind) -> None:
    """An object with any JSON in its fields is parsed as a job, or the error names fields of that object."""
    try:
        job = job_from_dict(kind, body)
    except InvalidResponseError as error:
        fields = set(error.fields)
    else:
        assert repr(job_from_dict(kind, job_to_dict(job))) == repr(job)
        return
    assert fields
    assert fields <= set(FIELDS)


@LENIENT
@given(st.sets(st.sampled_from(FIELDS[:13]), min_size=1), st.sampled_from(JobKind))
def test_all_invalid_fields_are_reported(broken: set[str], kind: JobKind) -> None:
    """Of any set of invalid fields, exactly those that a job of the kind has are reported."""
    ids = {JobKind.IMAGE_UPDATE: "updateid", JobKind.IMAGE_DIFF: "diffid", JobKind.IMAGE_VERSION: "imageversionid"}
    foreign = set(ids.values()) - {ids[kind]}
    known = broken - foreign - ({"success"} if kind is JobKind.IMAGE_DIFF else set())
    body = wire(5) | {field: [None] for field in broken}
    if not known:
        job_from_dict(kind, body)
        return
    with pytest.raises(InvalidResponseError) as raised:
        job_from_dict(kind, body)
    assert set(raised.value.fields) == known
