"""Calls with unknown outcome: reads that show whether the server processed a call whose response was lost.

A retry has happened if its job runs or was updated since the call, a rejection if the diff no longer locks the image.
No read shows whether a create has happened: another client may have created the job that locks the image. If the
caller guarantees that nothing else releases the image, that job is adopted; if no job locks the image, the update or
diff is created again.
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
"""Calls that create a job which locks the image, and the kind of that job."""

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
"""How often a call with unknown outcome is sent again: the server may still process each of them late."""


def was_refused(error: Exception) -> bool:
    """Whether the error of a call means that the server has not processed it."""
    if not isinstance(error, ClanforgeError) or isinstance(error, OutcomeUnknownError):
        return False
    return not may_have_been_processed(error)


def next_read(state: ReleaseState, intent: Intent) -> Action | None:
    """Return the next read that is needed to resolve an unknown outcome; None if none is."""
    if intent.call in RETRIES:
        ref = state.token.ref(RETRIES[intent.call])
        return None if state.holder is not None or ref is None else ReadJob(plain_ref(ref))
    if state.options is None:
        return ReadOptions()
    lock = state.options.lock
    is_candidate = lock is not None and lock.kind is CREATES.get(intent.call)
    return ReadJob(lock) if lock is not None and is_candidate and state.holder is None else None


def resolve(state: ReleaseState, rules: ReleaseRules, intent: Intent) -> ReleaseState:
    """Return the state after a read: after the last one, the call has happened, is sent again, or stays unknown."""
    if next_read(state, intent) is not None:
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
    """Return the state if the outcome stays unknown: without the call if the caller confirmed no effect, else failed.

    Args:
        state: The state.
        rules: The rules of the release.
        intent: The call with unknown outcome.
        cause: The error of the read that failed, if one did.
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
    """Return the state without the reads and counts that belonged to an unknown outcome."""
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
