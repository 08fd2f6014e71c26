"""The rules of a rollout, one read at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import evolve

from clanforge_async import (
    APIError,
    ImageInstall,
    ImageRelease,
    ImageRollout,
    ImageVersionJob,
    InvalidResponseError,
    JobKind,
    JobRef,
    JobState,
    NotFoundError,
    RateLimitError,
    ReleaseError,
    ReleaseSupersededError,
    ReleaseToken,
    RolloutError,
    TransportError,
)
from clanforge_async.releases.decisions import next_action
from clanforge_async.releases.recording import record
from clanforge_async.releases.release import ReleaseStep
from clanforge_async.releases.state import (
    Observation,
    Pause,
    ReadRollout,
    ReleaseRules,
    ReleaseState,
)
from clanforge_async.releases.token import Decision

NOW = datetime(2025, 11, 22, tzinfo=UTC)
ENDED = int(NOW.timestamp())
RELEASE = ImageRelease(501, 77, "build 2")
VERSION = ImageVersionJob(id=220, state=JobState.COMPLETED, created_at=NOW, updated_at=NOW)
TOKEN = ReleaseToken(
    image_id=501,
    machine_id=77,
    plan=RELEASE.digest,
    failed_before=1,
    update=JobRef.image_update(218),
    diff=JobRef.image_diff(219),
    decision=Decision.APPROVED,
    version=JobRef.image_version(220),
    version_ended=ENDED,
)
STATE = ReleaseState(token=TOKEN, completed={JobKind.IMAGE_VERSION: VERSION})
RULES = ReleaseRules(release=RELEASE)


def install(version: int | None = 220, state: JobState = JobState.RUNNING, path: str | None = "/images/501") -> Any:
    return ImageInstall(id=900, state=state, created_at=NOW, updated_at=NOW, image_version_id=version, image_path=path)


def counts(pending: int = 0, failed: int = 1, completed: int = 2) -> ImageRollout:
    return ImageRollout(pending=pending, failed=failed, completed=completed)


def read(
    result: object, state: ReleaseState = STATE, rules: ReleaseRules = RULES, after: float = 0.0, at: float = 0.0
) -> ReleaseState:
    """Return the state after a read of the rollout, some seconds after the version's end."""
    assert next_action(evolve(state, pause=0.0), rules) == ReadRollout()
    observed = Observation(result=result, at=at, server_time=ENDED + after)
    return record(evolve(state, pause=0.0), ReadRollout(), observed, rules)


def test_counts_do_not_end_a_release_before_the_rollout_begins() -> None:
    """Right after the version's end, the counts describe the previous version: the release keeps waiting."""
    state = read((counts(), []))
    assert next_action(state, RULES) == Pause(5.0)
    assert not state.token.rollout_began


def test_an_install_of_another_version_begins_no_rollout() -> None:
    """Installs of other images, or without a version, have no effect."""
    state = read((counts(), [install(219), install(None), install(221, path="/images/777")]), after=119.0)
    assert isinstance(next_action(state, RULES), Pause)
    assert not state.token.rollout_began


def test_a_rollout_ends_once_it_was_seen_to_begin() -> None:
    """After an install of the version was seen, the release ends without pending machines and incomplete installs."""
    state = read((counts(pending=2), [install()]))
    assert state.token.rollout_began
    assert isinstance(next_action(state, RULES), Pause)
    state = read((counts(), [install()]), state)
    assert isinstance(next_action(state, RULES), Pause)
    state = read((counts(), [install(state=JobState.FAILED), install(777, path="/images/777")]), state)
    assert state.end is not None
    assert next_action(state, RULES) is state.end
    assert (state.end.outcome, state.end.error) == ("released", None)


def test_a_release_waits_for_pending_machines_without_installs() -> None:
    """A pending machine keeps the release waiting, even without an install and after ``settle``."""
    state = read((counts(pending=1), []), after=1000.0)
    assert isinstance(next_action(state, RULES), Pause)


def test_a_rollout_that_was_not_seen_to_begin_ends_after_settle() -> None:
    """Without any install within ``settle`` seconds of the version's end, by the server's clock, the release ends."""
    state = read((counts(), []), after=119.0)
    assert next_action(state, RULES) == Pause(5.0)
    state = read((counts(), []), state, after=120.0)
    assert state.end is not None
    assert state.end.outcome == "released"
    assert not state.token.rollout_began


def test_a_scheduled_rollout_settles_from_its_time() -> None:
    """If the installs are scheduled, ``settle`` counts from then."""
    at = datetime.fromtimestamp(ENDED + 3600, UTC)
    rules = evolve(RULES, release=evolve(RELEASE, install_at=at))
    assert read((counts(), []), rules=rules, after=3600.0 + 119.0).end is None
    assert read((counts(), []), rules=rules, after=3600.0 + 120.0).end is not None
    early = evolve(RULES, release=evolve(RELEASE, install_at=NOW))
    assert read((counts(), []), rules=early, after=120.0).end is not None


def test_further_failed_machines_are_an_error_at_the_end() -> None:
    """More failed machines than before and than tolerated are a `RolloutError`, once the rollout has ended."""
    began = read((counts(pending=1, failed=3), [install()]))
    assert began.end is None
    state = read((counts(failed=3), []), began)
    assert state.end is not None
    error = state.end.error
    assert isinstance(error, RolloutError)
    assert (error.step, error.token, error.job) == (ReleaseStep.ROLLOUT, state.token, VERSION)
    assert error.rollout == counts(failed=3)
    assert "3 machines have failed; at most 1 may" in str(error)


def test_tolerated_failures_are_no_error() -> None:
    """As many failed machines as before, plus the tolerated number, are not an error."""
    began = read((counts(pending=1), [install()]))
    state = read((counts(failed=3), []), began, evolve(RULES, tolerate_failed=2))
    assert state.end is not None
    assert state.end.error is None


def test_without_a_state_before_every_failed_machine_counts() -> None:
    """If the token has no number of machines that had failed before, it counts as 0."""
    unknown = evolve(STATE, token=evolve(TOKEN, failed_before=None))
    state = read((counts(failed=1), []), unknown, after=500.0)
    assert state.end is not None
    assert isinstance(state.end.error, RolloutError)


def test_a_newer_version_at_the_same_path_supersedes_this_one() -> None:
    """An install of a newer version at the path of this version's installs ends the release at once."""
    began = read((counts(pending=2), [install()]))
    assert read((counts(pending=2), [install(219)]), began).end is None
    assert read((counts(pending=2), [install(221, path="/images/502")]), began).end is None
    state = read((counts(pending=2), [install(), install(221)]), began)
    assert state.end is not None
    assert isinstance(state.end.error, ReleaseSupersededError)
    assert "image version 221 is being installed instead of 220" in str(state.end.error)


def test_the_path_survives_the_process() -> None:
    """A resumed release knows the path at which its version was installed, and keeps the first one."""
    began = read((counts(pending=2), [install(path=None)]))
    assert began.token.install_path is None
    began = read((counts(pending=2), [install(), install(path="/other")]), began)
    resumed = evolve(STATE, token=ReleaseToken.parse(str(began.token)))
    state = read((counts(pending=2), [install(221)]), resumed)
    assert state.end is not None
    assert isinstance(state.end.error, ReleaseSupersededError)


def test_pauses_grow_while_nothing_changes() -> None:
    """Pauses between reads are 5 to 30 seconds: they grow while nothing changes, and are short again after a change."""
    state, pauses = STATE, list[float]()
    for _ in range(7):
        state = read((counts(pending=3), [install()]), state)
        pauses.append(state.pause)
    assert pauses == [5.0, 7.5, 11.25, 16.875, 25.3125, 30.0, 30.0]
    assert read((counts(pending=2), [install()]), state).pause == 5.0


TRANSIENT = [
    TransportError("lost", request_sent=True),
    InvalidResponseError("no JSON"),
    RateLimitError("slow down", status_code=429),
]


@pytest.mark.parametrize("error", TRANSIENT, ids=lambda error: type(error).__name__)
def test_transient_failures_do_not_end_a_release(error: Exception) -> None:
    """A failed read is repeated until the outage has lasted too long."""
    state = read(error, at=1000.0)
    assert next_action(state, RULES) == Pause(5.0)
    state = read(error, state, at=1299.0)
    assert state.end is None
    late = read(error, state, at=1300.0)
    assert late.end is not None
    assert isinstance(late.end.error, ReleaseError)
    assert late.end.error.__cause__ is error
    recovered = read((counts(pending=1), []), state, at=1299.5)
    assert read(error, recovered, at=1400.0).end is None


def test_the_server_says_when_to_read_again() -> None:
    """The next read is not sent before ``Retry-After`` has passed."""
    error = RateLimitError("slow down", status_code=429, retry_after=77.0)
    assert read(error).pause == 77.0


@pytest.mark.parametrize("error", [NotFoundError("gone", status_code=404), APIError("no", status_code=200)])
def test_a_refused_read_ends_the_release(error: APIError) -> None:
    """A refused read ends the release with that error."""
    state = read(error)
    assert state.end is not None
    assert isinstance(state.end.error, ReleaseError)
    assert state.end.error.__cause__ is error
    assert state.end.error.step is ReleaseStep.ROLLOUT


def test_a_bug_in_a_read_ends_the_release() -> None:
    """An exception of another package, such as one raised by credentials, ends the release."""
    state = read(KeyError("token"))
    assert state.end is not None
    assert isinstance(state.end.error, ReleaseError)
