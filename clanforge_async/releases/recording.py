"""Applies the result of an action to the state of a release, as a pure function."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from clanforge_async.errors import ClanforgeError, ConfigurationError, ImageLockedError
from clanforge_async.images import ImageOptions
from clanforge_async.jobs import ImageDiffJob, Job, job_failure
from clanforge_async.refs import JobKind, unix_second
from clanforge_async.releases.rollout import record_failed_read, record_rollout
from clanforge_async.releases.state import (
    NO_TIME,
    Action,
    Ask,
    CreateJob,
    CreateVersion,
    End,
    Observation,
    Pause,
    ReadRollout,
    RejectDiff,
    ReleaseRules,
    ReleaseState,
    RetryJob,
    Watch,
    end_with,
    fail,
    make_lock_error,
    paused,
    plain_ref,
)
from clanforge_async.releases.token import Call, Decision, Intent
from clanforge_async.releases.unknown_outcome import CREATES, RETRIES, give_up, resolve, settled, was_refused


def record(state: ReleaseState, action: Action, observed: Observation, rules: ReleaseRules) -> ReleaseState:
    """Return the state after an action.

    Args:
        state: The state before the action; for a call with a side effect, the state that `mark_pending` returned.
        action: The action.
        observed: The result of the action, or the error that it raised.
        rules: The rules of the release.
    """
    result = observed.result
    match action:
        case Pause():
            return evolve(state, pause=0.0)
        case CreateJob() | RetryJob() | RejectDiff() | CreateVersion():
            return _record_call(state, action.call, observed, rules)
        case Watch():
            return _record_job(state, result, rules)
        case Ask():
            return _record_answer(state, result, rules)
        case _:
            return _record_read(state, action, observed, rules)


def _record_read(state: ReleaseState, action: Action, observed: Observation, rules: ReleaseRules) -> ReleaseState:
    if isinstance(action, ReadRollout):
        return _record_rollout(state, observed, rules)
    if state.token.intent is not None:
        return _record_deciding_read(state, state.token.intent, observed.result, rules)
    return _record_options(state, observed, rules)


def _record_deciding_read(state: ReleaseState, intent: Intent, result: Any, rules: ReleaseRules) -> ReleaseState:
    if isinstance(result, ConfigurationError):
        return fail(state, rules, result)
    if isinstance(result, Exception):
        return give_up(state, rules, intent, result)
    known = {"holder": result} if isinstance(result, Job) else {"options": result}
    return resolve(evolve(state, **known), rules, intent)


def _record_options(state: ReleaseState, observed: Observation, rules: ReleaseRules) -> ReleaseState:
    result = observed.result
    if state.failed is not None:
        return _fail_version(state, result, rules)
    if isinstance(result, Exception):
        is_waiting = state.locked_since is not None
        return record_failed_read(state, result, observed, rules) if is_waiting else fail(state, rules, result)
    state = evolve(state, failing_since=None)
    problem = machine_problem(result, rules.release.machine_id)
    if problem is not None:
        return end_with(state, rules, problem)
    if result.lock is not None:
        return _record_lock(state, make_lock_error(rules.release.image_id, result.lock), observed, rules)
    return evolve(state, is_free=True, locked_since=None, waits=0)


def _fail_version(state: ReleaseState, result: ImageOptions | Exception, rules: ReleaseRules) -> ReleaseState:
    job = state.failed
    failure = None if job is None else job_failure(job)
    lock = None if isinstance(result, Exception) else result.lock
    locked = "" if lock is None else f"; the image is still locked by {lock}"
    if isinstance(result, Exception):
        locked = f"; whether the image is still locked could not be read: {result}"
    return fail(state, rules, failure or ClanforgeError("no version"), job=job, message=f"{failure}{locked}")


def machine_problem(options: ImageOptions, machine_id: int) -> str | None:
    """Return why a machine cannot build the image; None if the options show no reason."""
    if not options.machines or machine_id in options.machines:
        return None
    machines = ", ".join(f"{number} ({name})" for number, name in sorted(options.machines.items()))
    return f"machine {machine_id} is not a build machine of this image; its build machines: {machines}"


def _record_lock(
    state: ReleaseState, error: ImageLockedError, observed: Observation, rules: ReleaseRules
) -> ReleaseState:
    update, holder = state.token.update, error.holder
    if update is not None and holder.kind is JobKind.IMAGE_UPDATE and holder.id != update.id:
        state = state.with_token(overtaken_by=plain_ref(holder))
        msg = f"{error}: the build on the machine may have been replaced, so start a new release"
        return fail(state, rules, error, message=msg)
    since = observed.at if state.locked_since is None else state.locked_since
    left = since + rules.lock_wait - observed.at
    state = evolve(state, is_free=False, locked_since=since)
    return fail(state, rules, error) if left < NO_TIME else paused(state, left)


def _record_call(state: ReleaseState, call: Call, observed: Observation, rules: ReleaseRules) -> ReleaseState:
    result, token = observed.result, state.token
    if isinstance(result, Exception):
        return _record_failed_call(state, call, result, observed, rules)
    state = settled(state)
    if call is Call.REJECT:
        return state.with_token(rejected=True, intent=None)
    return evolve(state, token=token.with_retry(result.ref) if call in RETRIES else token.with_ref(result.ref))


def _record_failed_call(
    state: ReleaseState, call: Call, error: Exception, observed: Observation, rules: ReleaseRules
) -> ReleaseState:
    if not was_refused(error):
        state = evolve(state, doubt=error, options=None, holder=None, may_repeat=False, is_resending=False)
        return state if call in CREATES and rules.exclusive else fail(state, rules, error)
    if state.resends:
        return _record_failed_resend(state, error, rules)
    job = state.failed
    state = settled(state).with_token(intent=None)
    if call in CREATES and isinstance(error, ImageLockedError):
        return _record_lock(state, error, observed, rules)
    if call is Call.VERSION and state.token.decision is Decision.EMPTY and "full" in str(error).lower():
        return evolve(state.with_token(decision=Decision.REFUSED), refusal=error)
    return fail(state, rules, error, job=job)


def _record_failed_resend(state: ReleaseState, error: Exception, rules: ReleaseRules) -> ReleaseState:
    # The server refused this call, but may have processed the previous one late, so that its job locks the image.
    state = evolve(state, options=None, holder=None, is_resending=False)
    return state if isinstance(error, ImageLockedError) else fail(state, rules, error)


def _record_job(state: ReleaseState, result: Job | Exception, rules: ReleaseRules) -> ReleaseState:
    if isinstance(result, Exception):
        return fail(state, rules, result)
    failure = job_failure(result)
    if failure is None:
        return _record_completed(evolve(state, completed={**state.completed, result.kind: result}), result)
    is_version = result.kind is JobKind.IMAGE_VERSION
    if is_version or (result.is_failed and state.token.retries(result.kind) < rules.job_retries):
        return evolve(state, failed=result)
    return fail(state, rules, failure, job=result)


def _record_completed(state: ReleaseState, job: Job) -> ReleaseState:
    if job.kind is JobKind.IMAGE_VERSION:
        return state.with_token(version_ended=unix_second(job.updated_at))
    if isinstance(job, ImageDiffJob) and job.is_empty:
        return state.with_token(decision=Decision.EMPTY)
    return state


def _record_answer(state: ReleaseState, result: Any, rules: ReleaseRules) -> ReleaseState:
    match result:
        case True:
            return state.with_token(decision=Decision.APPROVED)
        case False:
            return state.with_token(decision=Decision.DECLINED)
        case "hold":
            return evolve(state.with_token(decision=Decision.HELD), end=End("held"))
        case _:
            return fail(state, rules, result)


def _record_rollout(state: ReleaseState, observed: Observation, rules: ReleaseRules) -> ReleaseState:
    result, version = observed.result, state.token.version
    if version is not None:
        if isinstance(result, Exception):
            return record_failed_read(state, result, observed, rules)
        return record_rollout(state, result, version, observed, rules)
    if isinstance(result, Exception):
        return fail(state, rules, result)
    rollout, _installs = result
    return state.with_token(failed_before=rollout.failed)
