"""The base class of all outputs, and the combination of several outputs."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Self

from clanforge_async import Job, JobRef, JobWatcher, ReleaseEvent, ReleaseResult, WatchResult
from clanforge_async.cli.outages import Outage, Recovery


class Output:
    """Shows jobs or releases to a user or a program. A context manager: entered once, before anything is shown.

    All methods do nothing here; an output overrides the ones that it needs.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the output."""

    def begin(self, watcher: JobWatcher) -> None:
        """Take the watcher of the jobs; called before the first snapshot of a watch."""

    def snapshot(self, event: str, ref: JobRef, job: Job) -> None:
        """Show a snapshot of a job.

        Args:
            event: Its origin: ``status``, ``retry``, or ``update`` from a watch.
            ref: The requested reference.
            job: The snapshot.
        """

    def result(self, result: WatchResult) -> None:
        """Show the result of a watch."""

    def release_event(self, event: ReleaseEvent) -> None:
        """Show an event of a release."""

    def release_result(self, result: ReleaseResult) -> None:
        """Show how a release ended."""

    def paused(self) -> AbstractContextManager[object]:
        """Return a context in which nothing is drawn, so that a question can be asked on the terminal."""
        return nullcontext()

    def outage(self, outage: Outage) -> None:
        """Show that requests have begun to fail."""

    def recovery(self, recovery: Recovery) -> None:
        """Show that requests succeed again."""

    def tick(self) -> None:
        """Show the passing of time; called about once a second."""


class MultiOutput(Output):
    """Combines several outputs.

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

    def begin(self, watcher: JobWatcher) -> None:
        """Pass the watcher to all outputs."""
        self._each(lambda output: output.begin(watcher))

    def snapshot(self, event: str, ref: JobRef, job: Job) -> None:
        """Show a snapshot on all outputs."""
        self._each(lambda output: output.snapshot(event, ref, job))

    def result(self, result: WatchResult) -> None:
        """Show a result on all outputs."""
        self._each(lambda output: output.result(result))

    def release_event(self, event: ReleaseEvent) -> None:
        """Show an event of a release on all outputs."""
        self._each(lambda output: output.release_event(event))

    def release_result(self, result: ReleaseResult) -> None:
        """Show how a release ended on all outputs."""
        self._each(lambda output: output.release_result(result))

    @contextmanager
    def paused(self) -> Generator[None]:
        """Free the terminal for a question."""
        with ExitStack() as stack:
            for output in self._outputs:
                stack.enter_context(output.paused())
            yield

    def outage(self, outage: Outage) -> None:
        """Show an outage on all outputs."""
        self._each(lambda output: output.outage(outage))

    def recovery(self, recovery: Recovery) -> None:
        """Show the end of an outage on all outputs."""
        self._each(lambda output: output.recovery(recovery))

    def tick(self) -> None:
        """Show the passing of time on all outputs."""
        self._each(lambda output: output.tick())

    def _each(self, call: Callable[[Output], None]) -> None:
        for output in self._outputs:
            call(output)
