"""Retries that somebody asks for, and what has to hold of what came of them."""

from __future__ import annotations

import asyncio

from attrs import define, field
from model.network import Network, Passage
from model.truth import Subject

from clanforge_async import ClanforgeClient, ClanforgeError, ImageDiffJob, JobRef, RetryOutcomeUnknownError

_TOO_MANY_REQUESTS = 429


@define(eq=False)
class Attempt:
    """One call of ``retry``.

    Attributes:
        subject: The diff.
        before: The number of the diff's last run when the call began.
        had_ended: Whether that run was over by then.
        position: How long the network's log was by then.
        answer: What it returned.
        error: What it raised.
        run: The number of the diff's last run when the call was over.
        task: The task that makes it.
    """

    subject: Subject
    before: int = field(init=False)
    had_ended: bool = field(init=False)
    position: int = field(init=False)
    answer: ImageDiffJob | None = None
    error: ClanforgeError | None = None
    run: int = 0
    task: asyncio.Task[None] | None = None

    async def make(self, client: ClanforgeClient, network: Network) -> None:
        """Call ``retry``, and write down what comes of it."""
        self.before, self.had_ended = self.subject.last_run, self.subject.has_ended()
        self.position = len(network.log)
        try:
            self.answer = await client.image_diffs.retry(self.subject.ref.id)
        except ClanforgeError as error:
            self.error = error
        self.run = self.subject.last_run

    @property
    def ref(self) -> JobRef | None:
        """What to watch from here on, where the call has returned."""
        return None if self.answer is None else self.answer.ref

    def is_settled(self, network: Network) -> bool:
        """Whether the call is over on both sides."""
        is_over = self.task is not None and self.task.done()
        return is_over and all(passage.served or not passage.arrived for passage in self._passages(network))

    def assert_acted_well(self, network: Network) -> None:
        """Hold that it has acted as often as it says, and never more than once."""
        # A server that was asked to hold back has not acted; whatever else it was sent, it may have.
        risked = [each for each in self._passages(network) if each.arrived and each.status != _TOO_MANY_REQUESTS]
        assert len(risked) <= 1, f"{self.subject.ref} was sent again: {risked}"
        acts = self.subject.last_run - self.before
        assert acts <= 1
        if self.answer is not None and self.had_ended:
            assert acts == 1, f"{self.subject.ref} was not retried, although retry() returned {self.answer}"
        if self.error is not None and not isinstance(self.error, RetryOutcomeUnknownError):
            assert acts == 0, f"{self.subject.ref} was retried, although retry() raised {self.error!r}"
        if isinstance(self.error, RetryOutcomeUnknownError):
            assert self.error.__cause__ is not None

    def _passages(self, network: Network) -> list[Passage]:
        return [each for each in network.log[self.position :] if each.path == self.subject.retry_path]
