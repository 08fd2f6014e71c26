"""Jobs and references to them."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from attrs import evolve, exceptions
from hypothesis import given
from hypothesis import strategies as st

from clanforge_async import (
    ImageDiffJob,
    ImageVersionJob,
    Job,
    JobFailedError,
    JobKind,
    JobRef,
    JobSquashedError,
    JobState,
)

TIME = datetime(2025, 11, 22, tzinfo=UTC)
TERMINAL = {JobState.COMPLETED, JobState.FAILED, JobState.SQUASHED}
AWARE = st.datetimes(
    min_value=datetime(1, 1, 3),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(9999, 12, 29),  # noqa: DTZ001 - as above
    timezones=st.timezones() | st.just(UTC),
)
REFS = st.builds(
    JobRef,
    st.sampled_from(JobKind),
    st.integers(min_value=1, max_value=10**30),
    st.none() | AWARE,
)


def diff(state: JobState | None = JobState.RUNNING, **fields: Any) -> ImageDiffJob:
    return ImageDiffJob(**{"id": 5678, "state": state, "created_at": TIME, "updated_at": TIME} | fields)


def version(state: JobState | None = JobState.RUNNING, **fields: Any) -> ImageVersionJob:
    return ImageVersionJob(**{"id": 9012, "state": state, "created_at": TIME, "updated_at": TIME} | fields)


def test_the_states_have_the_documented_numbers() -> None:
    """Each state has the number that the API documents."""
    assert {state.name: int(state) for state in JobState} == {
        "CREATED": 1,
        "PENDING": 2,
        "QUEUED": 3,
        "RUNNING": 4,
        "COMPLETED": 5,
        "FAILED": 6,
        "SQUASHED": 7,
    }
    assert isinstance(JobState.RUNNING, int)


@pytest.mark.parametrize("state", JobState)
def test_three_states_are_terminal(state: JobState) -> None:
    """Completed, Failed and Squashed are terminal, the other states are not."""
    assert state.is_terminal is (state in TERMINAL)


def test_the_kinds_are_text() -> None:
    """A kind is the text that a reference contains."""
    assert [str(kind) for kind in JobKind] == ["image-update", "image-diff", "image-version"]
    assert JobKind("image-diff") is JobKind.IMAGE_DIFF


@pytest.mark.parametrize("make", [diff, version])
@pytest.mark.parametrize("state", [*JobState, None])
def test_the_state_decides_the_properties(make: Any, state: JobState | None) -> None:
    """``is_terminal``, ``is_completed`` and ``is_failed`` depend on the state alone; an unknown one is not terminal."""
    job: Job = make(state, failure_count=3)
    assert job.is_terminal is (state in TERMINAL)
    assert job.is_completed is (state is JobState.COMPLETED)
    assert job.is_failed is (state is JobState.FAILED)


@pytest.mark.parametrize("state", [*JobState, None])
def test_a_failed_or_squashed_job_raises(state: JobState | None) -> None:
    """``raise_for_failure`` raises for a failed or squashed job, and returns every other job."""
    job = diff(state)
    if state is JobState.FAILED:
        with pytest.raises(JobFailedError, match=r"^image-diff/5678 failed$") as failed:
            job.raise_for_failure()
        assert type(failed.value) is JobFailedError
        assert failed.value.job is job
    elif state is JobState.SQUASHED:
        with pytest.raises(JobSquashedError, match="squashed") as squashed:
            job.raise_for_failure()
        assert squashed.value.job is job
    else:
        assert job.raise_for_failure() is job


def test_a_job_needs_few_arguments() -> None:
    """The defaults of a job are those of one that has just been created."""
    job = diff(JobState.COMPLETED)
    assert (job.state_id, job.state_name) == (5, "Completed")
    assert (job.started_at, job.eta, job.error) == (None, None, None)
    assert (job.progress, job.failure_count) == (0, 0)
    assert (job.added, job.modified, job.removed, job.details) == ({}, {}, {}, None)
    assert (diff(None).state_id, diff(None).state_name) == (None, "Unknown")
    assert version().success is True


def test_a_job_has_its_id_under_two_names() -> None:
    """The id is ``id`` on every job, and has the API's name on each kind."""
    assert (diff().id, diff().diff_id) == (5678, 5678)
    assert (version().id, version().image_version_id) == (9012, 9012)


def test_a_job_is_keyword_only() -> None:
    """No argument of a job is positional."""
    with pytest.raises(TypeError, match="positional"):
        ImageVersionJob(1, JobState.RUNNING)  # type: ignore[call-arg] # the claim is that this fails


@pytest.mark.parametrize("job", [diff(), version()])
def test_a_job_cannot_be_changed(job: Job) -> None:
    """A job is frozen, and has no other attributes."""
    with pytest.raises(exceptions.FrozenInstanceError):
        job.progress = 100  # type: ignore[misc] # the claim is that this fails
    with pytest.raises((AttributeError, TypeError)):
        job.mine = 1  # type: ignore[attr-defined] # the claim is that this fails
    assert not hasattr(job, "__dict__")


def test_jobs_are_equal_by_value() -> None:
    """Jobs are equal if all values from the server are, whatever their ``newer_than``."""
    assert diff() == diff()
    assert diff() != diff(progress=1)
    assert len({diff(id=1), version(id=1)}) == 2
    assert diff(added={"a": 1}) != diff()
    assert evolve(diff(), newer_than=TIME) == diff()


def test_jobs_are_hashable() -> None:
    """Equal jobs have equal hashes, whatever the file listings contain."""
    assert len({diff(added={"a": {"size": [1]}}), diff(added={"a": {"size": [1]}}), version()}) == 2


@pytest.mark.parametrize("job", [diff(added={"a": {"b": 1}}), diff(None), version(success=False, eta=TIME)])
def test_jobs_can_be_pickled_and_copied(job: Job) -> None:
    """A pickled or copied job is equal to the original and has the same reference."""
    for twin in (pickle.loads(pickle.dumps(job)), copy.copy(job), copy.deepcopy(job)):  # noqa: S301 - the claim
        assert twin == job
        assert twin.ref == job.ref


def test_a_pickled_job_keeps_its_newer_than() -> None:
    """A pickled job of a retry keeps the ``newer_than`` of its reference."""
    job = evolve(diff(), newer_than=TIME)
    assert pickle.loads(pickle.dumps(job)).ref == JobRef.image_diff(5678, TIME)  # noqa: S301 - the claim


def test_a_repr_is_short() -> None:
    """The repr of a job counts its files instead of listing them."""
    shown = repr(diff(added={f"maps/{i}": {} for i in range(1000)}))
    assert "<1000 files>" in shown
    assert "maps" not in shown
    assert len(shown) < 1000


def test_a_job_has_a_reference() -> None:
    """``ref`` has the job's kind and id, and a ``newer_than`` only if a retry returned the job."""
    assert diff().ref == JobRef(JobKind.IMAGE_DIFF, 5678)
    assert version().ref == JobRef.image_version(9012)


@pytest.mark.parametrize(
    ("ref", "text"),
    [
        (JobRef.image_diff(5678), "image-diff/5678"),
        (JobRef.image_version(9012), "image-version/9012"),
        (JobRef.image_diff(5678, TIME), "image-diff/5678@1763769600"),
        (JobRef.image_version(1, datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)), "image-version/1@-1"),
        (JobRef.image_diff(5678, TIME.astimezone(timezone(timedelta(hours=9)))), "image-diff/5678@1763769600"),
    ],
)
def test_a_reference_is_a_token(ref: JobRef, text: str) -> None:
    """``str()`` of a reference is the documented text, and ``parse`` reads it back."""
    assert str(ref) == text
    assert JobRef.parse(text) == ref


@given(REFS)
def test_every_reference_survives_as_text(ref: JobRef) -> None:
    """The text of any reference is parsed as an equal reference."""
    twin = JobRef.parse(str(ref))
    assert twin == ref
    assert hash(twin) == hash(ref)
    assert str(twin) == str(ref)
    assert pickle.loads(pickle.dumps(ref)) == ref  # noqa: S301 - the claim is about pickling


@given(AWARE)
def test_newer_than_is_a_whole_second_in_utc(moment: datetime) -> None:
    """``newer_than`` is rounded up to a whole second."""
    kept = JobRef.image_diff(1, moment).newer_than
    assert kept is not None
    assert kept.tzinfo is UTC
    assert kept.microsecond == 0
    assert timedelta(0) <= kept - moment < timedelta(seconds=1)


@pytest.mark.parametrize("job_id", [True, False, "5", 5.0, None, b"5"])
def test_an_id_is_an_int(job_id: Any) -> None:
    """An id that is not an ``int``, or is a ``bool``, is a ``TypeError``."""
    with pytest.raises(TypeError, match="must be an int, not"):
        JobRef.image_diff(job_id)


@pytest.mark.parametrize("job_id", [0, -1, -(10**20)])
def test_an_id_is_positive(job_id: int) -> None:
    """An id of 0 or less is a ``ValueError``."""
    with pytest.raises(ValueError, match="must be positive, not"):
        JobRef.image_version(job_id)


def test_newer_than_is_aware() -> None:
    """A ``newer_than`` without a time zone is a ``ValueError``."""
    with pytest.raises(ValueError, match="aware"):
        JobRef.image_diff(5, datetime(2025, 11, 22))  # noqa: DTZ001 - the claim is about a naive moment


def test_a_kind_is_one_of_three() -> None:
    """A reference accepts the three kinds, as text too, and no other."""
    assert JobRef("image-update", 5) == JobRef.image_update(5)
    with pytest.raises(ValueError, match="image-install"):
        JobRef("image-install", 5)


def test_newer_than_may_be_out_of_range() -> None:
    """A ``newer_than`` that cannot be rounded up to a datetime is a ``ValueError``, and no other error."""
    with pytest.raises(ValueError, match=r"newer_than|moment"):
        JobRef.image_diff(5, datetime.max.replace(tzinfo=UTC))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "image-diff",
        "image-diff/",
        "/5678",
        "5678",
        "image-diff/0",
        "image-diff/-5",
        "image-diff/+5",
        "image-diff/5.0",
        "image-diff/5 ",
        " image-diff/5",
        "image-diff/5\n",
        "image-diff/\N{ARABIC-INDIC DIGIT FIVE}",
        "image-diff/5@",
        "image-diff/5@now",
        "image-diff/5@1.5",
        "image-diff/5@1763769600\n",
        "image-diff/5@99999999999999999999",
        "image-diff/5@-999999999999",
        "image-diff/5@999999999999",
        "image-diff/5@1@2",
        "image-install/5",
        "Image-Diff/5",
        "IMAGE_DIFF/5",
        "image-diff/" + "9" * 5000,
    ],
)
def test_other_text_is_not_a_reference(text: str) -> None:
    """Text of another form is a ``ValueError``."""
    with pytest.raises(ValueError, match=r"."):
        JobRef.parse(text)


def test_only_text_is_parsed() -> None:
    """Parsing an ``int`` or ``bytes`` is a ``TypeError`` that names the type."""
    with pytest.raises(TypeError, match="read from text, not from int"):
        JobRef.parse(5678)  # type: ignore[arg-type] # the mistake in question


@given(st.text())
def test_any_text_is_a_reference_or_a_value_error(text: str) -> None:
    """Parsing any text returns a reference or raises ``ValueError``."""
    try:
        ref = JobRef.parse(text)
    except ValueError:
        return
    assert JobRef.parse(str(ref)) == ref
