"""The live view of watched jobs: the table of `live_table`."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve
from rich.text import Text

from clanforge_async import Job, JobRef, JobWatcher, WatchResult
from clanforge_async.cli.formatting import escape_and_truncate
from clanforge_async.cli.outages import ApiMonitor
from clanforge_async.cli.output.fitting import most_important
from clanforge_async.cli.output.job_view import JobView, with_forecast
from clanforge_async.cli.output.live_table import render_live_table
from clanforge_async.cli.output.live_view import Frame, LiveView
from clanforge_async.cli.output.plain import format_result, reason_of


class LiveOutput(LiveView):
    """Shows all jobs in a live table, and prints the full reasons of failures below it at the end.

    Args:
        refs: Jobs that will be watched.
        api: The API.
    """

    def __init__(self, refs: Iterable[JobRef], api: ApiMonitor | None = None) -> None:
        self._views = {ref: JobView(ref) for ref in refs}
        self._failures: list[WatchResult] = []
        self._last_lines: list[str] = []
        self._watcher: JobWatcher | None = None
        self._next_poll = 0.0
        super().__init__(api)  # draws a first frame

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        for result in self._failures:
            if not self._is_shown(result):
                self.console.print(Text(format_result(result)), soft_wrap=True)

    def _is_shown(self, result: WatchResult) -> bool:
        """Return whether the last frame contains the job's row with the full reason."""
        reason = "" if result.error is None else escape_and_truncate(reason_of(result.error))
        name = self._views[result.ref].name
        return any(line.startswith(f"{name} ") and line.endswith(reason) for line in self._last_lines)

    def begin(self, watcher: JobWatcher) -> None:
        """Take forecasts from the watcher."""
        self._watcher = watcher

    def snapshot(self, event: str, ref: JobRef, job: Job) -> None:  # noqa: ARG002 - all events look alike
        """Update the job's row."""
        self._show(evolve(self._views[ref], job=job))

    def _show(self, view: JobView) -> None:
        # Not in the thread that redraws: a watcher may only be used in its event loop.
        self._views[view.ref] = with_forecast(view, self._watcher)

    def result(self, result: WatchResult) -> None:
        """Show the result in the job's row."""
        view = self._views[result.ref]
        self._views[result.ref] = evolve(view, job=result.job or view.job, result=result)
        if result.error is not None:
            self._failures.append(result)

    def tick(self) -> None:
        """Update the forecasts and the time of the next poll: each poll changes them, even if the job is unchanged.

        Raises:
            OSError: The thread that redraws could not write: the terminal may be closed.
        """
        super().tick()
        shown, _ = most_important(self._views.values(), self.console.height)
        for view in shown:
            self._show(view)
        watcher = self._watcher
        self._next_poll = 0.0 if watcher is None else watcher._scheduler.seconds_to_next_poll()  # noqa: SLF001 - for us

    def draw(self, frame: Frame) -> list[Text]:
        """Return the lines of the table."""
        lines = render_live_table(
            list(self._views.values()),
            start=frame.start,
            now=frame.now,
            polls=frame.requests,
            next_poll=self._next_poll,
            warning=frame.warning,
            width=frame.width,
            height=frame.height,
            ascii_only=frame.ascii_only,
        )
        self._last_lines = [line.plain for line in lines]
        return lines
