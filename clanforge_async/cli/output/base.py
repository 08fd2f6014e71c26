"""The interface of all outputs, and several outputs as one."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Protocol, Self

from clanforge_async import Job, JobRef, WatchResult


class Output(Protocol):
    """Shows jobs to a user or a program. A context manager: entered once, before anything is shown."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

    def snapshot(self, event: str, ref: JobRef, job: Job) -> None:
        """Show a snapshot of a job.

        Args:
            event: Its origin: ``status``, ``retry``, or ``update`` from a watch.
            ref: The reference that was asked for.
            job: The snapshot.
        """

    def result(self, result: WatchResult) -> None:
        """Show the result of a watch."""


class MultiOutput:
    """Several outputs as one.

    Args:
        *outputs: Called in this order, closed in reverse order.
    """

    def __init__(self, *outputs: Output) -> None:
        self._outputs = outputs
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for output in self._outputs:
                stack.enter_context(output)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def snapshot(self, event: str, ref: JobRef, job: Job) -> None:
        """Show a snapshot on all outputs."""
        for output in self._outputs:
            output.snapshot(event, ref, job)

    def result(self, result: WatchResult) -> None:
        """Show a result on all outputs."""
        for output in self._outputs:
            output.result(result)
