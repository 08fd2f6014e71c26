"""Calls of ``retry``, one after another or concurrent, and the assertions on their results."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from attrs import define, field
from properties.model.event_log import record
from properties.model.job_runs import TrackedJob
from properties.model.network import SENDER, LoggedRequest, Network

from clanforge_async import ClanforgeClient, ClanforgeError, ImageDiffJob, RetryOutcomeUnknownError

_TOO_MANY_REQUESTS = 429


@define(eq=False)
class RetryCall:
    """One call of ``retry``.

    Attributes:
        tracked: The diff.
        before: Number of the diff's last run when the call began.
        had_ended: Whether that run had ended by then.
        position: Length of the network's log by then.
        answer: The job that it returned.
        error: The error that it raised.
        run: Number of the earliest run to which its result can belong.
        others: Number of concurrent calls for the same diff.
        task: The task that makes the call.
    """

    tracked: TrackedJob
    before: int = field(init=False)
    had_ended: bool = field(init=False)
    position: int = field(init=False)
    answer: ImageDiffJob | None = None
    error: ClanforgeError | None = None
    run: int = 0
    others: int = 0
    task: asyncio.Task[None] | None = None

    async def run_call(self, client: ClanforgeClient, network: Network) -> None:
        """Call ``retry``, and record its result."""
        self.before, self.had_ended = self.tracked.last_run, self.tracked.has_ended()
        self.position = len(network.log)
        SENDER.set(self)
        try:
            self.answer = await client.image_diffs.retry(self.tracked.ref.id)
        except ClanforgeError as error:
            self.error = error
        self.run = self.before + self.had_ended if self.others else self.tracked.last_run

    def is_done(self, network: Network) -> bool:
        """Whether both the caller and the server have finished the call."""
        is_over = self.task is not None and self.task.done()
        return is_over and all(logged.served or not logged.arrived for logged in self._requests(network))

    @property
    def may_have_been_processed(self) -> bool:
        """Whether the server may have processed the call, judging by its result."""
        return self.error is None or isinstance(self.error, RetryOutcomeUnknownError)

    def assert_sent_once(self, network: Network) -> None:
        """Assert that at most one of its requests may have been processed."""
        # A server that responds with 429 has not processed the request; any other request may have been processed.
        risked = [each for each in self._requests(network) if each.arrived and each.status != _TOO_MANY_REQUESTS]
        assert len(risked) <= 1, f"{self.tracked.ref} was sent again: {risked}"
        if isinstance(self.error, RetryOutcomeUnknownError):
            assert self.error.__cause__ is not None

    def _requests(self, network: Network) -> list[LoggedRequest]:
        asked = (each for each in network.log[self.position :] if each.path == self.tracked.retry_path)
        return [each for each in asked if each.sender is self]


def assert_retry_count(calls: Sequence[RetryCall], network: Network) -> None:
    """Assert that the calls for one diff, which may have been concurrent, started as many runs as they report."""
    tracked = calls[0].tracked
    runs = tracked.last_run - min(call.before for call in calls)
    for call in calls:
        call.assert_sent_once(network)
        record(f"retry: {_outcome(call)}")
    if len(calls) > 1:
        record("retry: concurrent")
    assert runs <= sum(call.may_have_been_processed for call in calls), f"{tracked.ref}: {runs} by {calls}"
    if any(call.answer is not None and call.had_ended for call in calls):
        assert runs, f"{tracked.ref} was not retried, although retry() returned: {calls}"


def _outcome(call: RetryCall) -> str:
    if call.answer is not None:
        return "returned a terminal job" if call.answer.is_terminal else "returned"
    return "cancelled" if call.error is None else type(call.error).__name__
