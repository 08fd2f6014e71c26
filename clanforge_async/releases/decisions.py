"""The decisions of a release, as pure functions of its state and of the results of its actions.

`next_action` returns the next action, `mark_pending` records a call with a side effect before it is sent, and `record`
(in ``recording.py``) applies the result of an action. A driver carries out the actions and writes the token to the
journal whenever it has changed: before each call with a side effect, and after each response. Nothing here sends,
sleeps or reads a clock, so `Releaser` and a workflow engine can use the same decisions.
"""

from __future__ import annotations

from collections.abc import Callable

from clanforge_async.refs import JobKind, JobRef, unix_second
from clanforge_async.releases.release import ReleaseStep
from clanforge_async.releases.results import ReleaseError, ReleaseRejectedError
from clanforge_async.releases.state import (
    Action,
    Ask,
    CreateJob,
    CreateVersion,
    End,
    Pause,
    ReadOptions,
    ReadRollout,
    RejectDiff,
    ReleaseRules,
    ReleaseState,
    RetryJob,
    Send,
    Watch,
    current_step,
    diff_of,
    fail,
    make_lock_error,
)
from clanforge_async.releases.token import Call, Decision, Intent, ReleaseToken
from clanforge_async.releases.unknown_outcome import RETRIES, next_read

_REINSTALLING = (Decision.DECLINED, Decision.ABORTED)


def begin(token: ReleaseToken, rules: ReleaseRules, *, may_repeat: bool = False) -> ReleaseState:
    """Return the initial state of a release that starts or resumes in this process.

    Args:
        token: The state to resume from; the token of a new release has only ids and a plan.
        rules: The rules of the release.
        may_repeat: Whether the caller has confirmed that the call with unknown outcome had no effect.
    """
    state = ReleaseState(token=token, may_repeat=may_repeat and token.intent is not None)
    if token.overtaken_by is not None and token.diff is None:
        error = make_lock_error(token.image_id, token.overtaken_by)
        msg = f"{token.overtaken_by} may have replaced the build on the machine: start a new release"
        return fail(state, rules, error, message=msg)
    return state


def next_action(state: ReleaseState, rules: ReleaseRules) -> Action | End:
    """Return the next action of a release, or its end."""
    if state.end is not None:
        return state.end
    if state.pause:
        return Pause(state.pause)
    intent = state.token.intent
    if intent is None:
        return _NEXT[current_step(state, rules)](state, rules)
    read = None if state.is_resending else next_read(state, intent)
    return make_call(state, rules, intent.call) if read is None else read


def _next_check(state: ReleaseState, _rules: ReleaseRules) -> Action | End:
    return ReadRollout() if state.is_free else ReadOptions()


def _next_update(state: ReleaseState, rules: ReleaseRules) -> Action | End:
    return _next_of_job(state, rules, state.token.update, Call.UPDATE, Call.UPDATE_RETRY)


def _next_diff(state: ReleaseState, rules: ReleaseRules) -> Action | End:
    if state.locked_since is not None:
        return ReadOptions()
    return _next_of_job(state, rules, state.token.diff, Call.DIFF, Call.DIFF_RETRY)


def _next_of_job(
    state: ReleaseState, rules: ReleaseRules, ref: JobRef | None, create: Call, retry: Call
) -> Action | End:
    if ref is None:
        return make_call(state, rules, create)
    return Watch(ref) if state.failed is None else make_call(state, rules, retry)


def _next_answer(state: ReleaseState, rules: ReleaseRules) -> Action | End:
    diff = diff_of(state)
    if state.token.rejected:
        return _end_of_rejected(state)
    if diff is not None and state.token.decision in (None, Decision.HELD):
        return Ask(diff)
    return make_call(state, rules, Call.REJECT)


def _end_of_rejected(state: ReleaseState) -> End:
    token = state.token
    if token.decision is Decision.EMPTY:
        return End("unchanged")
    if token.decision is Decision.REFUSED:
        refusal = "the server refused a full version of a build that equals the image"
        return End("unchanged", state.refusal or ReleaseError(refusal, step=ReleaseStep.VERSION, token=token))
    reason = "the release was aborted" if token.decision is Decision.ABORTED else "the diff was not approved"
    msg = f"{reason}, so the diff was rejected"
    return End("rejected", ReleaseRejectedError(msg, step=ReleaseStep.APPROVE, token=token))


def _next_version(state: ReleaseState, rules: ReleaseRules) -> Action | End:
    if state.token.version is None:
        return make_call(state, rules, Call.VERSION)
    if state.failed is not None:
        return ReadOptions()
    return End("released") if JobKind.IMAGE_VERSION in state.completed else Watch(state.token.version)


def _next_rollout(_state: ReleaseState, _rules: ReleaseRules) -> Action | End:
    return ReadRollout()


_NEXT: dict[ReleaseStep, Callable[[ReleaseState, ReleaseRules], Action | End]] = {
    ReleaseStep.CHECK: _next_check,
    ReleaseStep.UPDATE: _next_update,
    ReleaseStep.DIFF: _next_diff,
    ReleaseStep.APPROVE: _next_answer,
    ReleaseStep.VERSION: _next_version,
    ReleaseStep.ROLLOUT: _next_rollout,
}


def make_call(state: ReleaseState, rules: ReleaseRules, call: Call) -> Send:
    """Return the action that makes a call, with its arguments."""
    token = state.token
    match call:
        case Call.UPDATE | Call.DIFF:
            return CreateJob(call)
        case Call.UPDATE_RETRY | Call.DIFF_RETRY:
            return RetryJob(token.known_ref(RETRIES[call]))
        case Call.REJECT:
            return RejectDiff(token.known_ref(JobKind.IMAGE_DIFF), reinstall=token.decision in _REINSTALLING)
        case _:
            is_full = rules.release.full or token.decision is Decision.EMPTY
            return CreateVersion(token.known_ref(JobKind.IMAGE_DIFF), full=is_full)


def mark_pending(state: ReleaseState, call: Call, server_time: float) -> ReleaseState:
    """Return the state in which a call is about to be sent.

    Args:
        state: The state before.
        call: The call.
        server_time: A lower bound of the server's clock, in Unix seconds.
    """
    if state.token.intent is not None:
        return state  # sent again: a job that the first call created must still be found
    at = int(server_time // 1)
    if state.failed is not None:
        at = max(at, unix_second(state.failed.updated_at) + 1)  # so that the failed run is not mistaken for the new one
    return state.with_token(intent=Intent(call, at))
