"""`ReleaseToken`: the state of a release as one line of text."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clanforge_async import JobKind, JobRef, ReleaseToken
from clanforge_async.releases.digest import PlanDigest
from clanforge_async.releases.token import Call, Decision, Intent

PLAN = PlanDigest.of(description="build 2", source="s3://***@bucket/builds/", first_step="update")
HEAD = f"release/1:501.77.{PLAN}:"
RETRIED = datetime(2025, 11, 22, tzinfo=UTC)


def token(**fields: object) -> ReleaseToken:
    return ReleaseToken(image_id=501, machine_id=77, plan=PLAN, **fields)  # type: ignore[arg-type]


UPDATED = {"failed_before": 2, "update": JobRef.image_update(218000)}
DIFFED = {**UPDATED, "diff": JobRef.image_diff(218001)}
APPROVED = {**DIFFED, "decision": Decision.APPROVED}
VERSIONED = {**APPROVED, "version": JobRef.image_version(218002)}

TEXTS = [
    ({}, ""),
    ({"failed_before": 0}, "failed-before=0"),
    ({"intent": Intent(Call.UPDATE, 1763769600)}, "update=~1763769600"),
    (UPDATED, "failed-before=2,update=218000"),
    ({**UPDATED, "intent": Intent(Call.UPDATE_RETRY, 7)}, "failed-before=2,update=218000,update-retry=~7"),
    (
        {**UPDATED, "update": JobRef.image_update(218000, RETRIED), "update_retries": 1},
        "failed-before=2,update=218000@1763769600,update-retries=1",
    ),
    (
        {**UPDATED, "overtaken_by": JobRef.image_update(9), "intent": Intent(Call.DIFF, 8)},
        "failed-before=2,update=218000,overtaken-by=9,diff=~8",
    ),
    ({"diff": JobRef.image_diff(5), "diff_retries": 2}, "diff=5,diff-retries=2"),
    ({**DIFFED, "intent": Intent(Call.DIFF_RETRY, 9)}, "failed-before=2,update=218000,diff=218001,diff-retry=~9"),
    ({**DIFFED, "decision": Decision.HELD}, "failed-before=2,update=218000,diff=218001,held"),
    (
        {**DIFFED, "decision": Decision.DECLINED, "intent": Intent(Call.REJECT, 9)},
        "failed-before=2,update=218000,diff=218001,declined,reject=~9",
    ),
    (
        {**DIFFED, "decision": Decision.EMPTY, "rejected": True},
        "failed-before=2,update=218000,diff=218001,empty,rejected",
    ),
    (
        {**APPROVED, "intent": Intent(Call.VERSION, 1763769600)},
        "failed-before=2,update=218000,diff=218001,approved,version=~1763769600",
    ),
    (
        {**VERSIONED, "version_ended": 1763769700, "rollout_began": True, "install_path": "0123abcd"},
        "failed-before=2,update=218000,diff=218001,approved,version=218002,ended=1763769700,began,path=0123abcd",
    ),
]


@pytest.mark.parametrize(("fields", "text"), TEXTS)
def test_a_token_is_one_line_that_reads_back(fields: dict[str, object], text: str) -> None:
    """A token is written as one line, and parsed as the same token."""
    written = token(**fields)
    assert str(written) == HEAD + text
    assert ReleaseToken.parse(str(written)) == written
    assert pickle.loads(pickle.dumps(written)) == written  # noqa: S301 - our own bytes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "image-diff/5",
        f"release/2:501.77.{PLAN}:",
        f"release/1:501.{PLAN}:",
        f"release/1:0.77.{PLAN}:",
        "release/1:501.77.abc:",
        "release/1:501.77.00000000-00000000-0000000g:",
        f"{HEAD}update=218000\n",
        f"{HEAD} update=218000",
        f"{HEAD}update",
        f"{HEAD}update=0",
        f"{HEAD}update=~",
        f"{HEAD}update=~x",
        f"{HEAD}update=x",
        f"{HEAD}failed-before=-1",
        f"{HEAD}rejected=1",
        f"{HEAD}began",
        f"{HEAD}unknown",
        f"{HEAD}unknown=1",
        f"{HEAD}unknown=~1",
        f"{HEAD}update=1,update=2",
        f"{HEAD}update=1,update=~2",
        f"{HEAD}diff=1,approved,held",
        f"{HEAD}approved",
        f"{HEAD}version=1",
        f"{HEAD}diff=1,held,version=~1",
        f"{HEAD}diff=1,approved,reject=~1",
        f"{HEAD}diff=1,approved,version=2,ended=3,began,path=xyz",
    ],
)
def test_another_text_is_no_token(text: str) -> None:
    """Text of another form, or of a state that no release reaches, is a `ValueError` that says so."""
    with pytest.raises(ValueError, match="not a release token"):
        ReleaseToken.parse(text)


def test_a_token_is_parsed_only_from_text() -> None:
    """Anything but text is a `TypeError`."""
    with pytest.raises(TypeError, match="int"):
        ReleaseToken.parse(501)  # type: ignore[arg-type]


def test_a_job_that_was_not_created_is_unknown() -> None:
    """A token names only the jobs that the release has created."""
    assert token(**UPDATED).known_ref(JobKind.IMAGE_UPDATE) == JobRef.image_update(218000)
    assert token(**UPDATED).ref(JobKind.IMAGE_DIFF) is None
    with pytest.raises(ValueError, match="no image-diff yet"):
        token(**UPDATED).known_ref(JobKind.IMAGE_DIFF)


def test_a_digest_has_a_part_for_each_option_that_identifies_a_build() -> None:
    """Digests of plans differ in the same parts as the plans."""
    other = PlanDigest.of(description="build 3", source=None, first_step="update")
    assert PLAN.differences(PLAN) == []
    assert PLAN.differences(other) == ["description", "source"]
    assert PlanDigest.parse(str(other)) == other


@given(st.text(max_size=60))
def test_any_text_is_a_token_or_an_error(text: str) -> None:
    """Parsing any text returns a token or raises a `ValueError`."""
    try:
        parsed = ReleaseToken.parse(HEAD + text)
    except ValueError:
        return
    assert ReleaseToken.parse(str(parsed)) == parsed


refs = st.integers(1, 10**9)
seconds = st.integers(1, 10**11)
times = st.none() | st.integers(1, 10**9).map(lambda second: datetime.fromtimestamp(second, UTC))
fields = st.fixed_dictionaries(
    {},
    optional={
        "failed_before": st.integers(0, 10**6),
        "update": st.builds(JobRef.image_update, refs, times),
        "update_retries": st.integers(1, 9),
        "overtaken_by": st.builds(JobRef.image_update, refs),
        "diff": st.builds(JobRef.image_diff, refs, times),
        "diff_retries": st.integers(1, 9),
        "decision": st.sampled_from(Decision),
        "rejected": st.just(value=True),
        "version": st.builds(JobRef.image_version, refs),
        "version_ended": seconds,
        "rollout_began": st.just(value=True),
        "install_path": st.from_regex("[0-9a-f]{8}", fullmatch=True),
        "intent": st.builds(Intent, st.sampled_from(Call), seconds),
    },
)


@given(fields)
def test_every_token_reads_back(known: dict[str, object]) -> None:
    """Any valid token can be parsed from its text, which has neither a space nor a line break."""
    try:
        made = token(**known)
    except ValueError:
        return
    assert ReleaseToken.parse(str(made)) == made
    assert len(str(made).split()) == 1
