"""Retries that somebody asks for, one after another or at once, and what has to hold of what came of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from attrs import define, field
from properties.model.chronicle import happens
from properties.model.network import SENDER, Network, Passage
from properties.model.truth import Subject

from clanforge_async import ClanforgeClient, ClanforgeError, ImageDiffJob, RetryOutcomeUnknownError

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
        run: The number of the earliest run that its answer can speak of.
        others: How many other calls were under way for the same diff while this one was.
        task: The task that makes it.
    """

    subject: Subject
    before: int = field(init=False)
    had_ended: bool = field(init=False)
    position: int = field(init=False)
    answer: ImageDiffJob | None = None
    error: ClanforgeError | None = None
    run: int = 0
    others: int = 0
    task: asyncio.Task[None] | None = None

    async def make(self, client: ClanforgeClient, network: Network) -> None:
        """Call ``retry``, and write down what comes of it."""
        self.before, self.had_ended = self.subject.last_run, self.subject.has_ended()
        self.position = len(network.log)
        SENDER.set(self)
        try:
            self.answer = await client.image_diffs.retry(self.subject.ref.id)
        except ClanforgeError as error:
            self.error = error
        self.run = self.before + self.had_ended if self.others else self.subject.last_run

    def is_settled(self, network: Network) -> bool:
        """Whether the call is over on both sides."""
        is_over = self.task is not None and self.task.done()
        return is_over and all(passage.served or not passage.arrived for passage in self._passages(network))

    @property
    def may_have_acted(self) -> bool:
        """Whether it leaves open that the server has acted."""
        return self.error is None or isinstance(self.error, RetryOutcomeUnknownError)

    def assert_sent_well(self, network: Network) -> None:
        """Hold that it has sent what the server may have acted upon once at the most."""
        # A server that was asked to hold back has not acted; whatever else it was sent, it may have.
        risked = [each for each in self._passages(network) if each.arrived and each.status != _TOO_MANY_REQUESTS]
        assert len(risked) <= 1, f"{self.subject.ref} was sent again: {risked}"
        if isinstance(self.error, RetryOutcomeUnknownError):
            assert self.error.__cause__ is not None

    def _passages(self, network: Network) -> list[Passage]:
        asked = (each for each in network.log[self.position :] if each.path == self.subject.retry_path)
        return [each for each in asked if each.sender is self]


def assert_acted_well(attempts: Sequence[Attempt], network: Network) -> None:
    """Hold that the attempts to retry one diff, which may have overlapped, have acted as often as they say."""
    subject = attempts[0].subject
    acts = subject.last_run - min(attempt.before for attempt in attempts)
    for attempt in attempts:
        attempt.assert_sent_well(network)
        happens(f"retry: {_outcome(attempt)}")
    if len(attempts) > 1:
        happens("retry: not alone")
    assert acts <= sum(attempt.may_have_acted for attempt in attempts), f"{subject.ref}: {acts} by {attempts}"
    if any(attempt.answer is not None and attempt.had_ended for attempt in attempts):
        assert acts, f"{subject.ref} was not retried, although retry() returned: {attempts}"


def _outcome(attempt: Attempt) -> str:
    if attempt.answer is not None:
        return "returned an end" if attempt.answer.is_terminal else "returned"
    return "cancelled" if attempt.error is None else type(attempt.error).__name__
