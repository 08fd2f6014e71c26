"""Live bars for terminals: one for each job."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Self, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn
from rich.table import Column
from rich.text import Text

from clanforge_async import Job, JobFailedError, JobRef, JobState, WatchResult
from clanforge_async.cli.lines import effort, ending, state_title
from clanforge_async.cli.outcomes import outcome

_STYLES = {
    JobState.RUNNING: "cyan",
    JobState.COMPLETED: "green",
    JobState.FAILED: "red",
    JobState.SQUASHED: "yellow",
}


class _Field(ProgressColumn):
    """Shows a text that a task carries; as it is, since rich would take brackets in it for markup."""

    def __init__(self, name: str) -> None:
        self._name = name
        super().__init__(Column(no_wrap=True, overflow="ellipsis"))

    def render(self, task: Task) -> Text:
        """Return the text."""
        return cast("Text", task.fields[self._name])


class Bars:
    """A presenter that keeps a bar for each job in place, and gives the reasons of failures underneath.

    Args:
        refs: What will be watched.
    """

    def __init__(self, refs: Iterable[JobRef]) -> None:
        # Not for rich to judge: its variables that force colours into pipes say nothing of what stdout is.
        self._console = Console(file=sys.stdout, force_terminal=True, highlight=False)
        self._progress = Progress(
            _Field("ref"),
            _Field("state"),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            _Field("note"),
            console=self._console,
            refresh_per_second=5,
            redirect_stderr=sys.stderr.isatty(),
        )
        self._tasks = {
            ref: self._progress.add_task("", total=100, ref=Text(str(ref)), state=Text("waiting"), note=Text())
            for ref in dict.fromkeys(refs)
        }
        self._failures: list[str] = []

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        for failure in self._failures:
            self._console.print(Text(failure))

    def snapshot(self, event: str, ref: JobRef, job: Job) -> None:  # noqa: ARG002 - a bar looks alike for all events
        """Move the job's bar to where the job is."""
        eta = "" if job.eta is None or job.is_terminal else f"eta {job.eta.astimezone():%H:%M:%S}"
        style = _STYLES.get(job.state, "") if job.state else ""
        self._progress.update(
            self._tasks[ref],
            completed=job.progress,
            state=Text(state_title(job), style=style),
            note=Text(eta),
        )

    def result(self, result: WatchResult) -> None:
        """Note at the job's bar what its watch took, and how it ended where its last state does not tell."""
        task = self._tasks[result.ref]
        self._progress.update(task, note=Text(effort(result)))
        if result.error is None:
            return
        if not isinstance(result.error, JobFailedError):
            self._progress.update(task, state=Text(outcome(result.error), style="red"))
        self._failures.append(ending(result))
