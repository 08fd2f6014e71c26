"""Plain lines for pipes and logs: one for each change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from clanforge_async import Job, JobFailedError, JobRef, WatchResult
from clanforge_async.cli.colours import Painter, painter
from clanforge_async.cli.outcomes import outcome
from clanforge_async.cli.summaries import Summary
from clanforge_async.cli.text import brief, instant, visible, write

_STATE_WIDTH = 20
"""Characters of a state's name to show, where the name is the server's own."""


class Lines:
    """A presenter that writes each change as a line, and a summary at the end if there are several jobs.

    Args:
        refs: What will be watched, if anything.
    """

    def __init__(self, refs: Sequence[JobRef] = ()) -> None:
        self._paint = painter()
        self._summary = Summary(refs)

    def __enter__(self) -> Self:
        self._summary.begin()
        return self

    def __exit__(self, *_: object) -> None:
        if (summary := self._summary.sentence()) is not None:
            write(summary)

    def snapshot(self, event: str, ref: JobRef, job: Job) -> None:
        """Write where a job is. The end of a watch is left to its result, which follows at once."""
        if event != "update" or not job.is_terminal:
            write(f"{ref}  {described(job, self._paint)}")

    def result(self, result: WatchResult) -> None:
        """Write how a watch ended."""
        self._summary.add(result)
        write(ending(result, self._paint))


def described(job: Job, paint: Painter = str) -> str:
    """Return a job's state in one line."""
    eta = "" if job.eta is None or job.is_terminal else f"  eta {instant(job.eta)}"
    error = "" if job.error is None else f": {brief(job.error)}"
    return f"{paint(state_title(job))}  {job.progress} %{eta}  updated {instant(job.updated_at)}{error}"


def state_title(job: Job) -> str:
    """Return the state as users know it; one that this release does not know, as the server calls it."""
    return visible(job.state_name[:_STATE_WIDTH]) if job.state is None else job.state.name.title()


def ending(result: WatchResult, paint: Painter = str) -> str:
    """Return in one line how a watch ended."""
    reason = result.error.job.error if isinstance(result.error, JobFailedError) else result.error
    because = f": {brief(str(reason))}" if reason else ""
    return f"{result.ref}  {paint(outcome(result.error))}  {effort(result)}{because}"


def effort(result: WatchResult) -> str:
    """Return what a watch took."""
    return f"{result.elapsed:.1f} s, {result.polls} poll{'' if result.polls == 1 else 's'}"
