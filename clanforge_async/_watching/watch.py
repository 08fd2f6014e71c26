"""One watch: what somebody waits for, told of what the polls bring."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
import math
from collections.abc import Awaitable, Callable
from typing import Protocol

from clanforge_async._logging import log_event
from clanforge_async._watching.decisions import (
    Finished,
    PollAgain,
    PollResult,
    WatchPolicy,
    WatchState,
    decide,
    failure_of,
)
from clanforge_async._watching.observers import Listeners
from clanforge_async._watching.results import Outcome, WatchClosedError, WatchResult, WatchTimeoutError, outcome_of
from clanforge_async.jobs import Job
from clanforge_async.refs import JobRef

OnUpdate = Callable[[Job], Awaitable[object] | object]

_LAST_POLL_BEFORE = 0.05
"""Seconds before its deadline at which a watch polls for the last time, at the least. It is twice a poll's duration
where that is more, and longer where the polls of many jobs have to fit in."""


class Subject(Protocol):
    """What a watch takes part in: the polls of its job."""

    def leave(self, watch: Watch) -> asyncio.Task[None] | None:
        """Take part no longer; returns the poll under way that was cancelled with the last of its watches."""


class Watch:
    """The doing around a watch's state: its deadline, its listener, and the future that its result is set on.

    Args:
        state: What is known at the beginning.
        rules: How the watch behaves.
        timeout: Seconds until it gives up; None: never.
        on_update: Told of every changed snapshot, the terminal one included.
    """

    __slots__ = (
        "_context",
        "_deadline",
        "_ended",
        "_listeners",
        "_on_update",
        "_rules",
        "_state",
        "_subject",
        "_teller",
        "_timer",
        "_told",
        "_untold",
        "_winding_down",
        "due",
        "future",
    )

    def __init__(
        self, state: WatchState, rules: WatchPolicy, timeout: float | None, on_update: OnUpdate | None
    ) -> None:
        loop = asyncio.get_running_loop()
        self.due = state.began
        self.future: asyncio.Future[WatchResult] = loop.create_future()
        self._state = state
        self._rules = rules
        self._on_update = on_update
        self._deadline = None if timeout is None else state.began + timeout
        self._timer = None if self._deadline is None else loop.call_at(self._deadline, self._expire)
        self._subject: Subject | None = None
        self._listeners: Listeners = ()
        self._ended: WatchResult | None = None
        self._told: Job | None = None
        self._untold: list[Job] = []
        self._teller: asyncio.Task[None] | None = None
        self._winding_down: list[asyncio.Task[None]] = []
        self._context = contextvars.copy_context()

    @property
    def ref(self) -> JobRef:
        """What is watched."""
        return self._state.ref

    def begin(self, listeners: Listeners, subject: Subject | None = None, first_due: float = -math.inf) -> None:
        """Take part in the polls of a job; where there are none, the watch is over as it begins.

        Args:
            listeners: Who else hears of it.
            subject: The job's polls.
            first_due: When the job has its first poll, or had it: a deadline comes before that.
        """
        self._subject, self._listeners = subject, listeners
        for listener in listeners:
            listener.begun(self, self.ref)
        latest = math.inf if self._deadline is None else self._deadline - _LAST_POLL_BEFORE
        self.due = max(self.due, min(first_due, latest))
        if subject is None and (job := self._state.last_job) is not None:
            self._tell(job)
            self._end(failure_of(job))

    def observe(self, observation: PollResult, latency: float, crowd: float) -> float:
        """Take note of what a poll has brought.

        Args:
            observation: What it has brought.
            latency: Seconds that it took.
            crowd: Seconds that the polls of all other jobs take, should they come at once.

        Returns:
            Seconds for which the server wants no other poll.
        """
        outcome = decide(self._state, observation, self._rules)
        self._state = outcome.state
        if isinstance(outcome, Finished):
            if outcome.job is not None:
                self._tell(outcome.job)
            self._end(outcome.error)
            return 0.0
        if outcome.news is not None and outcome.news != self._told:
            self._tell(outcome.news)
        self.due = self._next(outcome, observation.at, latency, crowd)
        return outcome.at_least

    def fail(self, error: Exception) -> None:
        """End for a reason that no rule knows, such as a fault in a wait strategy."""
        self._end(error)

    def close(self) -> set[asyncio.Task[None]]:
        """End because nobody will poll any more, and return the tasks that have yet to notice."""
        self._end(WatchClosedError(self.ref, self._state.last_job))
        self._resolve()
        return self.abandon()

    def abandon(self) -> set[asyncio.Task[None]]:
        """Stop at once, ended or not, and return the tasks that have yet to notice."""
        if self._timer is not None:
            self._timer.cancel()
        self._leave()
        self._untold.clear()
        if self._teller is not None:
            self._teller.cancel()
            self._winding_down.append(self._teller)
        if self._ended is None:
            self._announce(self._result(None), Outcome.CANCELLED)
        current = asyncio.current_task()
        return {task for task in self._winding_down if task is not current}

    def _next(self, again: PollAgain, at: float, latency: float, crowd: float) -> float:
        due = at + again.after
        if self._deadline is None:
            return due
        margin = max(_LAST_POLL_BEFORE, 2 * latency)
        last = self._deadline - margin - crowd
        if last <= at:
            # That was to be the last poll, or polls take so long that half of what remains must do.
            last = self._deadline - min(margin, (self._deadline - at) / 2)
        return last if last < due and last - at >= _LAST_POLL_BEFORE else due

    def _expire(self) -> None:
        self._end(WatchTimeoutError(self.ref, self._state.last_job))
        self._resolve()

    def _end(self, error: Exception | None) -> None:
        if self._ended is None:
            self._leave()
            self._ended = self._result(error)
            self._announce(self._ended, outcome_of(error))
        if self._teller is None:
            self._resolve()

    def _result(self, error: Exception | None) -> WatchResult:
        return WatchResult(
            ref=self.ref,
            job=self._state.last_job,
            error=error,
            polls=self._state.polls,
            elapsed=asyncio.get_running_loop().time() - self._state.began,
        )

    def _announce(self, result: WatchResult, outcome: Outcome) -> None:
        listeners, self._listeners = self._listeners, ()
        for listener in listeners:
            listener.ended(self, result, outcome)

    def _resolve(self) -> None:
        self.abandon()
        if self._ended is not None and not self.future.done():
            self.future.set_result(self._ended)

    def _leave(self) -> None:
        subject, self._subject = self._subject, None
        if subject is not None and (poll := subject.leave(self)) is not None:
            self._winding_down.append(poll)

    def _tell(self, job: Job) -> None:
        for listener in self._listeners:
            listener.changed(self, job)
        self._told = job
        if self._on_update is not None:
            self._untold.append(job)
            self._tell_on()

    def _tell_on(self) -> None:
        # One update at a time and in their order; whoever awaits in between holds up nothing but its own result.
        while self._untold and self._teller is None and self._on_update is not None:
            try:
                heard = self._context.run(self._on_update, self._untold.pop(0))
            except (Exception, asyncio.CancelledError):  # noqa: BLE001 - nobody can have cancelled what is not awaited
                self._complain()
                continue
            if inspect.isawaitable(heard):
                self._teller = asyncio.get_running_loop().create_task(self._hear(heard), context=self._context)
                self._teller.add_done_callback(functools.partial(self._heard, heard))

    async def _hear(self, heard: Awaitable[object]) -> None:
        try:
            await heard
        except Exception:  # noqa: BLE001 - a listener can raise anything, and the watch goes on
            self._complain()
        except asyncio.CancelledError:
            teller = asyncio.current_task()
            if teller is not None and teller.cancelling():
                raise
            self._complain()

    def _complain(self) -> None:
        log_event(logging.ERROR, "listener_failed", "on_update failed for %(ref)s", ref=self.ref, exc_info=True)

    def _heard(self, heard: Awaitable[object], _teller: asyncio.Task[None]) -> None:
        self._teller = None
        if inspect.iscoroutine(heard):
            heard.close()  # a task that is cancelled before its first step has not begun to await it
        self._tell_on()
        if self._ended is not None and self._teller is None:
            self._resolve()
