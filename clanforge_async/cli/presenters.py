"""What a command shows while jobs run: the interface of all that can be shown."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Protocol, Self

from clanforge_async import Job, JobRef, WatchResult


class Presenter(Protocol):
    """Shows jobs to whoever sits or reads at the other end of stdout. Entered once, before anything is shown."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

    def snapshot(self, event: str, ref: JobRef, job: Job) -> None:
        """Show a job at one moment.

        Args:
            event: What brought it: ``status``, ``retry``, or ``update`` while it is watched.
            ref: The reference under which it was asked for.
            job: The job.
        """

    def result(self, result: WatchResult) -> None:
        """Show how the watch of a job ended."""


class Together:
    """Several presenters as one.

    Args:
        *presenters: They are shown everything in this order.
    """

    def __init__(self, *presenters: Presenter) -> None:
        self._presenters = presenters
        self._entered = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as entered:
            for presenter in self._presenters:
                entered.enter_context(presenter)
            self._entered = entered.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._entered.close()

    def snapshot(self, event: str, ref: JobRef, job: Job) -> None:
        """Show a job to all."""
        for presenter in self._presenters:
            presenter.snapshot(event, ref, job)

    def result(self, result: WatchResult) -> None:
        """Show the end of a watch to all."""
        for presenter in self._presenters:
            presenter.result(result)
