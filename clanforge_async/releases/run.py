"""Drives one release: carries out its actions, saves its token and emits its events."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
from contextlib import ExitStack
from datetime import UTC, datetime

from clanforge_async._logging import log_event
from clanforge_async.images import ImageRollout
from clanforge_async.jobs import ImageDiffJob, ImageUpdateJob, ImageVersionJob, Job
from clanforge_async.refs import JobKind
from clanforge_async.releases.actions import ReleaseActionRunner, Services
from clanforge_async.releases.decisions import begin, mark_pending, next_action
from clanforge_async.releases.options import RunOptions
from clanforge_async.releases.recording import record
from clanforge_async.releases.results import (
    EventKind,
    ReleaseError,
    ReleaseEvent,
    ReleaseResult,
    ReleaseTimeoutError,
)
from clanforge_async.releases.state import Action, End, Pause, ReleaseRules, ReleaseState, Send, current_step
from clanforge_async.releases.token import Call, Decision, ReleaseToken
from clanforge_async.releases.turns import Turn


class _JournalError(Exception):
    """The journal failed; the error is the cause."""


_KINDS = (JobKind.IMAGE_UPDATE, JobKind.IMAGE_DIFF, JobKind.IMAGE_VERSION)
_EVENTS: dict[Decision | None, EventKind] = {Decision.APPROVED: "approved", Decision.HELD: "held"}


class ReleaseRun:
    """One release in this process.

    Args:
        services: Services shared by all releases of a releaser.
        rules: The rules of the release.
        token: The state to start or resume from.
        options: Options of this run.
    """

    def __init__(self, services: Services, rules: ReleaseRules, token: ReleaseToken, options: RunOptions) -> None:
        self._services = services
        self._rules = rules
        self._options = options
        self._state = begin(token, rules, may_repeat=options.may_repeat)
        self._step = current_step(self._state, rules)
        self._is_begun = False
        self._jobs: dict[JobKind, Job] = {}
        self._is_waiting = False
        self._actions = ReleaseActionRunner(services, rules.release, options.approve, self._emit_job)
        self._scope: asyncio.Timeout | None = None
        self._is_stopped = False
        self._machine_turn: Turn | None = None
        loop = asyncio.get_running_loop()
        self._began = loop.time()
        self._deadline = self._began + (math.inf if options.timeout is None else options.timeout)

    async def run(self) -> ReleaseResult:
        """Run the release until it ends, and return its result. Raises nothing but a cancellation."""
        with ExitStack() as turns:
            image_turn = self._services.turns.join(("image", self._rules.release.image_id))
            turns.callback(image_turn.leave)
            turns.callback(self._leave_machine)
            end = await self._run_in_time(image_turn)
        await self._emit("finished")
        return self._result(end)

    def stop(self) -> None:
        """End the release at once, as by a timeout."""
        self._is_stopped = True
        if self._scope is not None:
            self._scope.reschedule(asyncio.get_running_loop().time())

    async def _run_in_time(self, image_turn: Turn) -> End:
        try:
            async with asyncio.timeout(self._options.timeout) as scope:
                self._scope = scope
                return await self._run(image_turn, scope)
        except TimeoutError:
            return End("failed", self._timeout_error())
        except _JournalError as error:
            return End("failed", self._error(f"the journal failed: {error.__cause__!r}", error.__cause__))
        finally:
            self._scope = None

    async def _run(self, image_turn: Turn, scope: asyncio.Timeout) -> End:
        if not self._state.token.is_under_way:
            await self._journal_beginning()
        await self._await_turn(image_turn)
        if self._state.token.diff is None and self._state.end is None:
            self._machine_turn = self._services.turns.join(("machine", self._rules.release.machine_id))
            await self._await_turn(self._machine_turn)
        while not isinstance(action := next_action(self._state, self._rules), End):
            is_new_step = self._enter_step(scope)
            if isinstance(action, Send):
                await self._mark_pending(action.call)
            if is_new_step or isinstance(action, Send):
                await self._emit("started")
            await self._emit_waiting(action)
            observed = await self._actions.run(action)
            await self._apply(record(self._state, action, observed, self._rules))
            if isinstance(action, Send) and isinstance(observed.result, Job):
                await self._emit_job(observed.result)
        return action

    async def _journal_beginning(self) -> None:
        try:
            await self._services.journal.begin(self._state.token, self._rules.release)
        except Exception as error:
            raise _JournalError from error

    async def _await_turn(self, turn: Turn) -> None:
        if not turn.has_come:
            await self._emit("waiting")
            await turn.wait()

    def _leave_machine(self) -> None:
        if self._machine_turn is not None:
            self._machine_turn.leave()

    def _enter_step(self, scope: asyncio.Timeout) -> bool:
        """Return whether a new step begins, and set its deadline if so."""
        step = current_step(self._state, self._rules)
        if step is self._step and self._is_begun:
            return False
        self._step, self._is_begun = step, True
        now = asyncio.get_running_loop().time()
        ends = now if self._is_stopped else min(self._deadline, now + self._options.step_timeouts.get(step, math.inf))
        scope.reschedule(ends if ends < math.inf else None)
        return True

    async def _mark_pending(self, call: Call) -> None:
        before = self._state
        self._state = mark_pending(before, call, self._services.server_time())
        try:
            await self._save()
        except _JournalError:
            self._state = before  # the call is not sent
            raise

    async def _apply(self, state: ReleaseState) -> None:
        before, self._state = self._state, state
        if state.token.diff is not None:
            self._leave_machine()
        if state.token != before.token:
            await self._save()
        await self._emit_changes(before, state)

    async def _save(self) -> None:
        try:
            await self._services.journal.save(self._state.token, self._rules.release)
        except Exception as error:
            raise _JournalError from error

    async def _emit_job(self, job: Job) -> None:
        self._jobs[job.kind] = job
        await self._emit("job", job=job)

    async def _emit_waiting(self, action: Action) -> None:
        is_waiting = isinstance(action, Pause) and self._state.locked_since is not None
        if is_waiting and not self._is_waiting:
            await self._emit("waiting")
        self._is_waiting = self._state.locked_since is not None

    async def _emit_changes(self, before: ReleaseState, state: ReleaseState) -> None:
        old, new = before.token, state.token
        if state.adopted != before.adopted:
            await self._emit("adopted")
        if new.decision is not old.decision and (kind := _EVENTS.get(new.decision)) is not None:
            await self._emit(kind)
        if new.rejected and not old.rejected:
            await self._emit("rejected")
        if state.rollout is not None and state.rollout != before.rollout:
            await self._emit("rollout", rollout=state.rollout)

    async def _emit(self, kind: EventKind, *, job: Job | None = None, rollout: ImageRollout | None = None) -> None:
        callback = self._options.on_event
        if callback is None:
            return
        event = ReleaseEvent(
            release=self._rules.release,
            step=self._step,
            kind=kind,
            job=job,
            rollout=rollout,
            token=self._state.token,
            at=datetime.now(UTC),
        )
        try:
            returned = callback(event)
            if inspect.isawaitable(returned):
                await returned
        except Exception:  # noqa: BLE001 - the release continues, whatever a callback raises
            image = event.token.image_id
            log_event(
                logging.ERROR, "listener_failed", "on_event failed for image %(image)s", image=image, exc_info=True
            )

    def _error(self, message: str, cause: BaseException | None) -> ReleaseError:
        error = ReleaseError(message, step=self._step, token=self._state.token)
        error.__cause__ = cause
        return error

    def _timeout_error(self) -> ReleaseError:
        if self._is_stopped:
            return self._error("the releaser was closed", None)
        elapsed = asyncio.get_running_loop().time() - self._began
        msg = f"timed out after {elapsed:.0f} s"
        return ReleaseTimeoutError(msg, step=self._step, token=self._state.token)

    def _result(self, end: End) -> ReleaseResult:
        update, diff, version = (self._jobs.get(kind) for kind in _KINDS)
        return ReleaseResult(
            outcome=end.outcome,
            image_id=self._rules.release.image_id,
            update=update if isinstance(update, ImageUpdateJob) else None,
            diff=diff if isinstance(diff, ImageDiffJob) else None,
            version=version if isinstance(version, ImageVersionJob) else None,
            rollout=self._state.rollout,
            rollout_observed=self._state.token.rollout_began,
            token=self._state.token,
            error=end.error,
            elapsed=asyncio.get_running_loop().time() - self._began,
        )
