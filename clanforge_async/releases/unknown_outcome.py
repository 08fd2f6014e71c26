"""Calls in doubt: what a look at the server tells of a call whose answer was lost.

A retry has happened if its job runs or was updated since, a rejection if the diff holds the image no more. A create is
never concluded from a look: a job that was created since may be a rival's. If nothing else releases the image, as the
caller promises, such a job is adopted, and an update or diff that holds no lock is created anew.
"""

from __future__ import annotations

from datetime import timedelta

from attrs import evolve

from clanforge_async._http.retry_policy import may_have_been_processed
from clanforge_async.errors import ClanforgeError, OutcomeUnknownError, RetryOutcomeUnknownError
from clanforge_async.images import ImageOptions
from clanforge_async.jobs import Job
from clanforge_async.refs import EPOCH, JobKind, JobRef, unix_second
from clanforge_async.releases.state import (
    Action,
    ReadJob,
    ReadOptions,
    ReleaseRules,
    ReleaseState,
    fail,
    plain_ref,
)
from clanforge_async.releases.token import Call, Intent

CREATES = {Call.UPDATE: JobKind.IMAGE_UPDATE, Call.DIFF: JobKind.IMAGE_DIFF}
"""Calls that create a job which can be recognized by its lock, and the job's kind."""

RETRIES = {Call.UPDATE_RETRY: JobKind.IMAGE_UPDATE, Call.DIFF_RETRY: JobKind.IMAGE_DIFF}

_METHODS = {
    Call.UPDATE: "image_updates.create",
    Call.UPDATE_RETRY: "image_updates.retry",
    Call.DIFF: "image_diffs.create",
    Call.DIFF_RETRY: "image_diffs.retry",
    Call.REJECT: "image_diffs.reject",
    Call.VERSION: "image_versions.create",
}

_MAX_RESENDS = 2
"""Times that a call in doubt is made anew: each may be the one that the server acts upon late."""


def was_refused(error: Exception) -> bool:
    """Whether the error of a call tells that nothing was done."""
    if not isinstance(error, ClanforgeError) or isinstance(error, OutcomeUnknownError):
        return False
    return not may_have_been_processed(error)


def next_look(state: ReleaseState, intent: Intent) -> Action | None:
    """Return the read that the resolution of a doubt still needs; None if there is none."""
    if intent.call in RETRIES:
        ref = state.token.ref(RETRIES[intent.call])
        return None if state.holder is not None or ref is None else ReadJob(plain_ref(ref))
    if state.options is None:
        return ReadOptions()
    lock = state.options.lock
    is_candidate = lock is not None and lock.kind is CREATES.get(intent.call)
    return ReadJob(lock) if lock is not None and is_candidate and state.holder is None else None


def resolve(state: ReleaseState, rules: ReleaseRules, intent: Intent) -> ReleaseState:
    """Return the state once all that can be read was read: the call has happened, is made anew, or stays in doubt."""
    if next_look(state, intent) is not None:
        return state
    if intent.call is Call.REJECT and state.options is not None and not _holds_image(state, state.options):
        return evolve(settled(state), token=evolve(state.token, rejected=True, intent=None))
    if intent.call in RETRIES and state.holder is not None and _has_run_since(state.holder, intent):
        ref = JobRef(state.holder.kind, state.holder.id, EPOCH + timedelta(seconds=intent.at))
        return evolve(settled(state), token=state.token.with_retry(ref))
    if intent.call in CREATES and rules.exclusive:
        return _match_or_resend(state, rules, intent)
    return give_up(state, rules, intent)


def _match_or_resend(state: ReleaseState, rules: ReleaseRules, intent: Intent) -> ReleaseState:
    candidate = _candidate(state, intent)
    if candidate is not None:
        return evolve(settled(state), token=state.token.with_ref(candidate), adopted=candidate)
    is_free = state.options is not None and state.options.lock is None
    if is_free and state.resends < _MAX_RESENDS:
        return evolve(state, resends=state.resends + 1, is_resending=True)
    return give_up(state, rules, intent)


def give_up(state: ReleaseState, rules: ReleaseRules, intent: Intent, cause: Exception | None = None) -> ReleaseState:
    """Return the state of a release whose doubt cannot be resolved: a person's word decides, or it ends.

    Args:
        state: The state.
        rules: The rules of the release.
        intent: The call in doubt.
        cause: Why a deciding read failed, if one did.
    """
    if state.may_repeat:
        return evolve(settled(state), token=evolve(state.token, intent=None))
    ref = state.token.ref(RETRIES[intent.call]) if intent.call in RETRIES else None
    lock = state.options.lock if state.options is not None and intent.call is Call.VERSION else None
    error = (
        OutcomeUnknownError(_METHODS[intent.call], candidate=_candidate(state, intent), lock=lock)
        if ref is None
        else RetryOutcomeUnknownError(plain_ref(ref))
    )
    error.__cause__ = cause or state.doubt
    return fail(state, rules, error)


def settled(state: ReleaseState) -> ReleaseState:
    """Return the state without what was read and counted for a doubt."""
    return evolve(
        state, options=None, holder=None, doubt=None, may_repeat=False, resends=0, is_resending=False, failed=None
    )


def _holds_image(state: ReleaseState, options: ImageOptions) -> bool:
    return options.lock == plain_ref(state.token.known_ref(JobKind.IMAGE_DIFF))


def _candidate(state: ReleaseState, intent: Intent) -> JobRef | None:
    holder = state.holder
    if holder is None or intent.call not in CREATES or unix_second(holder.created_at) < intent.at:
        return None
    return plain_ref(holder)


def _has_run_since(job: Job, intent: Intent) -> bool:
    return not job.is_terminal or unix_second(job.updated_at) >= intent.at
