"""The abort of a release: removes the lock that the release holds on the image, and no other lock.

Like a release, it consists of pure decisions (`next_action`, `record`) and a loop that carries them out.
"""

from __future__ import annotations

import asyncio
from typing import Any

from attrs import evolve, frozen

from clanforge_async.errors import ConfigurationError
from clanforge_async.images import ImageOptions
from clanforge_async.jobs import Job
from clanforge_async.refs import JobKind, JobRef, unix_second
from clanforge_async.releases.actions import ActionRunner, Services
from clanforge_async.releases.release import ReleaseStep
from clanforge_async.releases.results import AbortResult, ReleaseError, ReleaseTimeoutError
from clanforge_async.releases.state import (
    SHORTEST_PAUSE,
    Action,
    Pause,
    ReadJob,
    ReadOptions,
    RejectDiff,
    Watch,
    plain_ref,
)
from clanforge_async.releases.token import Call, Decision, Intent, ReleaseToken
from clanforge_async.releases.turns import Turn
from clanforge_async.releases.unknown_outcome import CREATES, was_refused

_LOCK_READS = 4
"""Largest number of reads of the options after the rejection, until the lock is gone."""


@frozen(kw_only=True)
class AbortState:
    """The state of an abort.

    Attributes:
        token: The state of the release.
        jobs: The jobs that were read: an update or diff that has ended, the version, and the job that locks the image.
        options: The image options; None if they must be read again.
        reads: Number of reads of the options since the rejection.
        is_pausing: Whether to pause before the options are read again.
    """

    token: ReleaseToken
    jobs: tuple[Job, ...] = ()
    options: ImageOptions | None = None
    reads: int = 0
    is_pausing: bool = False

    def job(self, ref: JobRef | None) -> Job | None:
        """Return the job that was read for a reference, if any."""
        return next((job for job in self.jobs if ref is not None and (job.kind, job.id) == (ref.kind, ref.id)), None)

    @property
    def is_too_late(self) -> bool:
        """Whether the version is being rolled out, or will be."""
        version = self.job(self.token.version)
        return version is not None and (not version.is_terminal or version.is_completed)


def next_action(state: AbortState, *, exclusive: bool, reinstall: bool) -> Action | AbortResult:
    """Return the next action of an abort, or its result.

    Args:
        state: The state of the abort.
        exclusive: Whether the caller guarantees that nothing else releases the image. Then a job that was created
            since a call with unknown outcome belongs to the release.
        reinstall: Whether the build machine is restored to its last known good state.
    """
    token = state.token
    if state.is_pausing:
        return Pause(SHORTEST_PAUSE)
    if not token.rejected and (read := _next_job(state)) is not None:
        return read
    if state.options is None:
        return ReadOptions()
    lock, own = state.options.lock, _own_diff(token)
    if lock is not None and exclusive and _is_candidate(token, lock) and state.job(lock) is None:
        return ReadJob(lock)
    if own is not None and lock == own and not token.rejected and not state.is_too_late:
        return RejectDiff(own, reinstall=reinstall)
    return AbortResult(rejected=token.rejected, lock=lock, version=token.version if state.is_too_late else None)


def _next_job(state: AbortState) -> Action | None:
    """Return the action that reads the latest job of the release; None if that job was read."""
    token = state.token
    if token.version is not None:
        return None if state.job(token.version) is not None else ReadJob(token.version)
    ref = token.diff or token.update
    return None if ref is None or state.job(ref) is not None else Watch(ref)


def _own_diff(token: ReleaseToken) -> JobRef | None:
    return None if token.diff is None else plain_ref(token.diff)


def _is_candidate(token: ReleaseToken, lock: JobRef) -> bool:
    return token.intent is not None and CREATES.get(token.intent.call) is lock.kind


def mark_pending(state: AbortState, server_time: float) -> AbortState:
    """Return the state in which the rejection is about to be sent."""
    intent = Intent(Call.REJECT, int(server_time // 1))
    return evolve(state, token=evolve(state.token, decision=Decision.ABORTED, intent=intent))


def record(state: AbortState, action: Action, result: Any) -> AbortState:
    """Return the state after a successful action.

    Args:
        state: The state before the action; for the rejection, the state that `mark_pending` returned.
        action: The action.
        result: The value that it returned.
    """
    match action:
        case Pause():
            return evolve(state, is_pausing=False, options=None)
        case ReadOptions():
            return _record_options(state, result)
        case RejectDiff():
            return evolve(state, token=evolve(state.token, rejected=True, intent=None), options=None)
        case _:
            return _record_job(state, result)


def _record_options(state: AbortState, options: ImageOptions) -> AbortState:
    token, is_held = state.token, options.lock is not None and options.lock == _own_diff(state.token)
    if token.intent is not None and token.intent.call is Call.REJECT and not is_held:
        token = evolve(token, rejected=True, intent=None)
    is_pausing = token.rejected and is_held and state.reads + 1 < _LOCK_READS
    return evolve(state, token=token, options=options, reads=state.reads + token.rejected, is_pausing=is_pausing)


def _record_job(state: AbortState, job: Job) -> AbortState:
    token, ref = state.token, plain_ref(job)
    is_own = token.ref(job.kind) is not None
    state = evolve(state, jobs=(*state.jobs, job))
    if is_own:
        return evolve(state, options=None)
    if token.intent is None or unix_second(job.created_at) < token.intent.at:
        return state
    return evolve(state, token=token.with_ref(ref), jobs=(), options=None)


_STEPS = {JobKind.IMAGE_UPDATE: ReleaseStep.UPDATE, JobKind.IMAGE_DIFF: ReleaseStep.DIFF}


class AbortRun:
    """One abort.

    Args:
        services: Services shared by all releases of a releaser.
        token: The state of the release.
        exclusive: As in `next_action`.
        reinstall: As in `next_action`.
    """

    def __init__(self, services: Services, token: ReleaseToken, *, exclusive: bool, reinstall: bool) -> None:
        self._services = services
        self._state = AbortState(token=token)
        self._step = ReleaseStep.CHECK
        self._exclusive = exclusive
        self._reinstall = reinstall
        self._actions = ActionRunner(services, token.image_id)

    async def run(self, turn: Turn, timeout: float | None) -> AbortResult:  # noqa: ASYNC109 - raises its own error
        """Carry out the abort.

        Args:
            turn: The place in the queue for the image.
            timeout: Seconds; None: no limit.

        Raises:
            ReleaseError: The abort failed or timed out.
            ConfigurationError: The client is closed.
        """
        try:
            async with asyncio.timeout(timeout):
                await turn.wait()
                return await self._run()
        except TimeoutError:
            msg = "the abort timed out"
            raise ReleaseTimeoutError(msg, step=self._step, token=self._state.token) from None

    async def _run(self) -> AbortResult:
        while True:
            action = next_action(self._state, exclusive=self._exclusive, reinstall=self._reinstall)
            if isinstance(action, AbortResult):
                return action
            before = self._state
            self._step = _step_of(action)
            if isinstance(action, RejectDiff):
                await self._save(before, mark_pending(before, self._services.server_time()))
            result = (await self._actions.run(action)).result
            if isinstance(result, Exception):
                raise await self._failed(action, before, result)
            await self._save(self._state, record(self._state, action, result))

    async def _failed(self, action: Action, before: AbortState, error: Exception) -> Exception:
        if isinstance(action, RejectDiff) and was_refused(error):
            await self._save(self._state, before)
        return error if isinstance(error, ConfigurationError) else self._error(str(error), error)

    async def _save(self, before: AbortState, state: AbortState) -> None:
        if state.token != before.token:
            try:
                await self._services.journal.save(state.token, None)
            except Exception as error:
                msg = f"the journal failed: {error!r}"
                raise self._error(msg, error) from error
        self._state = state

    def _error(self, message: str, cause: Exception) -> ReleaseError:
        error = ReleaseError(message, step=self._step, token=self._state.token)
        error.__cause__ = cause
        return error


def _step_of(action: Action) -> ReleaseStep:
    if isinstance(action, Watch):
        return _STEPS[action.ref.kind]
    return ReleaseStep.APPROVE if isinstance(action, RejectDiff) else ReleaseStep.CHECK
