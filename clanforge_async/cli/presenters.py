"""What a command shows while jobs run: one interface, and the choice between its implementations."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
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


def choose_presenter(*, as_json: bool, live: Sequence[JobRef] = ()) -> Presenter:
    """Return the presenter for the stdout that there is.

    Args:
        as_json: Whether a program reads it.
        live: What will be watched, and deserves a live view where a terminal can show one.
    """
    if as_json:
        from clanforge_async.cli.records import Records  # noqa: PLC0415 - what is not used is not loaded

        return Records()
    if live and sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}:
        from clanforge_async.cli.bars import Bars  # noqa: PLC0415 - rich takes its time

        return Bars(live)
    from clanforge_async.cli.lines import Lines  # noqa: PLC0415 - as above

    return Lines()
