"""A single watch: turns poll results into updates and one result."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection
from functools import partial

from clanforge_async._polling.forecast import ForecastState
from clanforge_async._watching.decisions import Finished, PollResult, decide, unfinished
from clanforge_async._watching.notifier import Notifier
from clanforge_async._watching.observers import Observers
from clanforge_async._watching.results import (
    Outcome,
    WatchClosedError,
    WatchResult,
    WatchTimeoutError,
    copy_error,
    outcome_of,
)
from clanforge_async._watching.state import WatchPolicy, WatchState
from clanforge_async.errors import ClanforgeError
from clanforge_async.jobs import Job, job_failure
from clanforge_async.refs import JobRef

_LAST_POLL_BEFORE = 0.05
"""Minimum seconds between a watch's last poll and its deadline."""

_NO_OBSERVERS = Observers()


class Watch:
    """Runs one watch: feeds poll results to `decide`, enforces the deadline, and resolves `future`.

    A watch has no task. `_finish` ends it with a result, which `future` gets once every update is delivered. `detach`
    cancels its timer, its part in the polls and its callbacks.

    Args:
        state: The initial state.
        policy: The rules by which the watch reacts to poll results.
        timeout: Seconds until it gives up; None: never.
        notifier: Delivers every changed snapshot, including the terminal one, and every failure that does not end it.

    Attributes:
        due: Time at which it wants the next poll, by the loop's clock.
        future: Resolves with the watch's result.
    """

    __slots__ = (
        "_cancelled_tasks",
        "_deadline",
        "_leave",
        "_notifier",
        "_observers",
        "_policy",
        "_result",
        "_state",
        "_timer",
        "due",
        "future",
    )

    def __init__(
        self, state: WatchState, policy: WatchPolicy, timeout: float | None, notifier: Notifier | None
    ) -> None:
        loop = asyncio.get_running_loop()
        self.due = state.began
        self.future: asyncio.Future[WatchResult] = loop.create_future()
        self._state = state
        self._policy = policy
        self._deadline = None if timeout is None else state.began + timeout
        self._timer = None if self._deadline is None else loop.call_at(self._deadline, self._expire)
        self._notifier = notifier
        self._observers = _NO_OBSERVERS
        self._leave: Callable[[Watch], asyncio.Task[None] | None] | None = None
        self._result: WatchResult | None = None
        self._cancelled_tasks: tuple[asyncio.Task[None], ...] = ()

    @property
    def ref(self) -> JobRef:
        """The reference of the watched job."""
        return self._state.ref

    @property
    def forecast_state(self) -> ForecastState:
        """The state of the job's forecast, as of the last poll that showed the watched run."""
        return self._state.forecast_state

    def start(
        self,
        observers: Observers,
        leave: Callable[[Watch], asyncio.Task[None] | None] | None = None,
        first_due: float = -math.inf,
    ) -> None:
        """Join the job's shared polls; without any, finish at once.

        Args:
            observers: Get the watch's start, changes and end.
            leave: Removes the watch from the polls; returns the poll in flight if that was cancelled because of it.
            first_due: Time at which the job's first poll is due or was made; infinity if the job is in the start queue.
                An earlier deadline brings the poll forward.
        """
        self._leave, self._observers = leave, observers
        observers.started(self, self.ref)
        latest = math.inf if self._deadline is None else self._deadline - _LAST_POLL_BEFORE
        self.due = max(self.due, min(first_due, latest))
        if leave is None and (job := self._state.last_job) is not None:
            self._publish(job)
            self._finish(job_failure(job))

    def handle_poll(self, result: PollResult) -> float:
        """Apply a poll result: publish its update, and finish or set the next `due`.

        Returns:
            Seconds for which the server allows no other poll.
        """
        decision = decide(self._state, result, self._policy, self._deadline, _LAST_POLL_BEFORE)
        self._state = decision.state
        failure = result.seen if isinstance(result.seen, ClanforgeError) else None
        if failure is not None and self._notifier is not None and not isinstance(decision, Finished):
            self._notifier.push_error(partial(copy_error, failure))
        if decision.news is not None:
            self._publish(decision.news)
        if isinstance(decision, Finished):
            # The failure is shared by all watches of the job.
            self._finish(decision.result.error if failure is None else copy_error(failure))
            return 0.0
        self.due = result.at + decision.after
        return decision.at_least

    def fail(self, error: Exception) -> None:
        """Finish with an error that `decide` does not handle, such as one raised by a wait strategy."""
        self._finish(error)

    def close(self, spared: Collection[asyncio.Task[None]] = ()) -> set[asyncio.Task[None]]:
        """Finish because the watcher closes, and return the tasks that are still running.

        Args:
            spared: Callbacks that are not cancelled, because they close the watcher; `future` resolves after them.
        """
        self._finish(unfinished(WatchClosedError, self._state))
        if self._notifier is None or (callback := self._notifier.task) is None or callback not in spared:
            return self.detach()
        self._notifier.drop_pending()
        self._cancel_timer()
        return {*self._cancelled_tasks, callback}

    def detach(self) -> set[asyncio.Task[None]]:
        """Cancel everything now, and return the tasks that are still running."""
        self._cancel_timer()
        self._leave_polls()
        if self._notifier is not None and (callback := self._notifier.cancel()) is not None:
            self._cancelled_tasks += (callback,)
        if self._result is None:
            self._report_end(self._make_result(None), Outcome.CANCELLED)
        elif not self.future.done():
            self.future.set_result(self._result)
        current = asyncio.current_task()
        return {task for task in self._cancelled_tasks if task is not current}

    def _expire(self) -> None:
        self._finish(unfinished(WatchTimeoutError, self._state))
        self.detach()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _finish(self, error: Exception | None) -> None:
        if self._result is None:
            self._leave_polls()
            self._result = self._make_result(error)
            self._report_end(self._result, outcome_of(error))
        if self._notifier is None:
            self.detach()
        else:
            self._notifier.when_idle(self.detach)

    def _make_result(self, error: Exception | None) -> WatchResult:
        return WatchResult(
            ref=self.ref,
            job=self._state.last_job,
            error=error,
            polls=self._state.polls,
            elapsed=asyncio.get_running_loop().time() - self._state.began,
        )

    def _report_end(self, result: WatchResult, outcome: Outcome) -> None:
        observers, self._observers = self._observers, _NO_OBSERVERS
        observers.ended(self, result, outcome)

    def _leave_polls(self) -> None:
        leave, self._leave = self._leave, None
        if leave is not None and (poll := leave(self)) is not None:
            self._cancelled_tasks += (poll,)

    def _publish(self, job: Job) -> None:
        self._observers.changed(self, job)
        if self._notifier is not None:
            self._notifier.push(job)
