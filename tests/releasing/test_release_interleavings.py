"""Every interleaving of a release's decisions with possible observations, including crashes, without an event loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve, frozen

from clanforge_async import (
    APIError,
    ImageDiffJob,
    ImageInstall,
    ImageLockedError,
    ImageOptions,
    ImageRelease,
    ImageRollout,
    ImageUpdateJob,
    ImageVersionJob,
    Job,
    JobKind,
    JobRef,
    JobState,
    NotFoundError,
    OutcomeUnknownError,
    ReleaseToken,
    TransportError,
)
from clanforge_async.releases.decisions import begin, mark_pending, next_action
from clanforge_async.releases.recording import record
from clanforge_async.releases.state import (
    Action,
    Ask,
    CreateJob,
    CreateVersion,
    End,
    Observation,
    Pause,
    ReadJob,
    ReadOptions,
    ReadRollout,
    RejectDiff,
    ReleaseRules,
    ReleaseState,
    RetryJob,
    Watch,
)
from clanforge_async.releases.token import Call, Decision

NOW = datetime(2025, 11, 22, tzinfo=UTC)
SECOND = NOW.timestamp()
RELEASE = ImageRelease(501, 77, "build 2")
IDS = {JobKind.IMAGE_UPDATE: 101, JobKind.IMAGE_DIFF: 102, JobKind.IMAGE_VERSION: 103}
CLASSES: dict[JobKind, type[Any]] = {
    JobKind.IMAGE_UPDATE: ImageUpdateJob,
    JobKind.IMAGE_DIFF: ImageDiffJob,
    JobKind.IMAGE_VERSION: ImageVersionJob,
}
RIVAL_DIFF, RIVAL_UPDATE = JobRef.image_diff(902), JobRef.image_update(901)
LOST = TransportError("the answer was lost", request_sent=True)
REFUSED = APIError("refused: active allocations", status_code=400)
FULL_TWICE = APIError("the previous version is full already", status_code=400)
FREE = ImageOptions(machines={77: "build-77"})

SENDS = CreateJob | RetryJob | RejectDiff | CreateVersion


def job(
    kind: JobKind, state: JobState = JobState.COMPLETED, age: int = 0, number: int | None = None, **more: Any
) -> Job:
    made: Job = CLASSES[kind](
        id=number or IDS[kind],
        state=state,
        created_at=NOW - timedelta(seconds=age),
        updated_at=NOW - timedelta(seconds=age),
        **more,
    )
    return made


def locked(ref: JobRef) -> ImageOptions:
    return evolve(FREE, lock=ref)


def locked_error(ref: JobRef) -> ImageLockedError:
    return ImageLockedError("image locked", holder=ref, status_code=200)


def reads_of_options() -> Iterator[object]:
    yield FREE
    yield evolve(FREE, machines={78: "another"})
    yield from map(locked, (RIVAL_DIFF, RIVAL_UPDATE, JobRef.image_diff(102), JobRef.image_update(101)))
    yield LOST
    yield NotFoundError("no such image", status_code=404)


def reads_of_rollout() -> Iterator[object]:
    own = ImageInstall(
        id=9, state=JobState.RUNNING, created_at=NOW, updated_at=NOW, image_version_id=103, image_path="/a"
    )
    yield ImageRollout(completed=3), []
    yield ImageRollout(pending=2), [own]
    yield ImageRollout(failed=9), []
    yield ImageRollout(pending=2), [own, evolve(own, image_version_id=999)]
    yield LOST
    yield REFUSED


def ends_of(ref: JobRef) -> Iterator[object]:
    kind = ref.kind
    listing: dict[str, Any] = {"added": {"a": {}}} if kind is JobKind.IMAGE_DIFF else {}
    yield job(kind, **listing)
    yield job(kind, JobState.FAILED)
    yield job(kind, JobState.SQUASHED)
    yield REFUSED
    if kind is JobKind.IMAGE_DIFF:
        yield job(kind, has_listing=True)
        yield job(kind)


def answers_to(action: SENDS) -> Iterator[object]:
    match action:
        case CreateJob(call):
            yield job(JobKind.IMAGE_UPDATE if call is Call.UPDATE else JobKind.IMAGE_DIFF, JobState.CREATED)
            yield from (locked_error(RIVAL_DIFF), locked_error(RIVAL_UPDATE))
        case RetryJob(ref):
            yield job(ref.kind, JobState.CREATED, newer_than=NOW)
            yield locked_error(RIVAL_DIFF)
        case RejectDiff():
            yield "rejected"
        case CreateVersion():
            yield job(JobKind.IMAGE_VERSION, JobState.CREATED)
            yield FULL_TWICE
    yield from (REFUSED, LOST, OutcomeUnknownError("a call"))


def results_of(action: Action) -> Iterator[object]:
    """Yield every possible result of an action."""
    match action:
        case ReadOptions():
            yield from reads_of_options()
        case ReadRollout():
            yield from reads_of_rollout()
        case ReadJob(ref):
            for state in (JobState.RUNNING, JobState.COMPLETED):
                yield job(ref.kind, state, number=ref.id)
                yield job(ref.kind, state, age=1000, number=ref.id)
            yield LOST
        case Watch(ref):
            yield from ends_of(ref)
        case Ask():
            yield from (True, False, "hold", KeyError("in the callback"))
        case Pause():
            yield None
        case _:
            yield from answers_to(action)


@frozen
class Node:
    """A release at some point of its course.

    Attributes:
        state: Its state.
        known: The calls that it knows to be processed.
        in_doubt: The calls that may have been processed.
    """

    state: ReleaseState
    known: frozenset[Call] = frozenset()
    in_doubt: frozenset[Call] = frozenset()

    @property
    def key(self) -> tuple[object, ...]:
        """The identity of a node: errors and jobs are equal if their texts are."""
        state = self.state
        end = None if state.end is None else (state.end.outcome, str(state.end.error))
        doubt = (str(state.doubt), state.may_repeat, state.resends, state.is_resending)
        seen = (state.is_free, tuple(state.completed), str(state.failed), str(state.options), str(state.holder))
        waits = (state.locked_since, state.failing_since, bool(state.pause), min(state.waits, 2), str(state.rollout))
        return str(state.token), end, doubt, seen, waits, self.known, self.in_doubt


def take(node: Node, action: Action, rules: ReleaseRules) -> Iterator[Node]:
    """Yield every possible outcome of an action: a response, or a crash before or after it."""
    state = node.state
    if isinstance(action, SENDS):
        state = mark_pending(state, action.call, SECOND)
        yield resumed(evolve(node, state=state, in_doubt=node.in_doubt | {action.call}), rules)
    for result in results_of(action):
        at = 0.0 if state.locked_since is None else 1000.0
        observed = Observation(result=result, at=at, server_time=SECOND + 1000.0)
        after = evolve(node, state=record(state, action, observed, rules))
        if isinstance(action, SENDS) and not isinstance(result, Exception):
            after = evolve(after, known=node.known | {action.call})
        elif isinstance(action, SENDS) and after.state.token.intent is not None:
            after = evolve(after, in_doubt=node.in_doubt | {action.call})
        yield after


def resumed(node: Node, rules: ReleaseRules) -> Node:
    """Return the state with which another process, which has only the token, begins."""
    token = ReleaseToken.parse(str(node.state.token))
    assert token == node.state.token
    return evolve(node, state=begin(token, rules))


RULES = ReleaseRules(release=RELEASE)

VARIANTS = {
    "plain": RULES,
    "retries": evolve(RULES, job_retries=1, lock_wait=60.0),
    "exclusive": evolve(RULES, exclusive=True, release=evolve(RELEASE, wait_for="version")),
    "full": evolve(RULES, release=evolve(RELEASE, on_empty="full")),
    "from diff": evolve(RULES, release=evolve(RELEASE, first_step="diff", wait_for="version")),
}


def explore(rules: ReleaseRules) -> Iterator[tuple[Node, Action | End]]:
    """Yield every reachable release, with its next action."""
    start = ReleaseToken(image_id=501, machine_id=77, plan=rules.release.digest)
    todo = deque([Node(begin(start, rules))])
    seen = {todo[0].key}
    while todo:
        node = todo.popleft()
        action = next_action(node.state, rules)
        yield node, action
        for after in [resumed(node, rules)] if isinstance(action, End) else take(node, action, rules):
            if after.key not in seen:
                seen.add(after.key)
                todo.append(after)


@pytest.mark.parametrize("name", VARIANTS)
def test_no_interleaving_makes_a_call_twice(name: str) -> None:
    """A processed call is never sent again, and an unknown one only if an exclusive image is not locked."""
    rules = VARIANTS[name]
    outcomes = set[str]()
    for node, action in explore(rules):
        if isinstance(action, End):
            outcomes.add(action.outcome)
            assert action.outcome in ("failed", "rejected") or action.error is None or name == "full"
        elif isinstance(action, RetryJob):
            assert node.state.token.retries(action.ref.kind) < rules.job_retries
            assert node.state.token.intent is None
        elif isinstance(action, SENDS):
            assert action.call not in node.known
            if action.call in node.in_doubt:
                assert rules.exclusive
                assert node.state.options is not None
                assert node.state.options.lock is None
        if isinstance(action, RejectDiff | CreateVersion) and not rules.exclusive:
            assert action.ref.id == 102
        if isinstance(action, CreateVersion):
            assert node.state.token.decision in (Decision.APPROVED, Decision.EMPTY)
    assert {"released", "failed", "rejected", "held", "unchanged"} <= outcomes
