"""The live view on a terminal: redraws the table of `live_table` four times a second."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Self

from attrs import evolve
from rich.console import Console, ConsoleRenderable, Group, RenderHook
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

from clanforge_async import Job, JobRef, JobWatcher, WatchResult
from clanforge_async.cli.formatting import escape_and_truncate
from clanforge_async.cli.outages import ApiMonitor, Recovery
from clanforge_async.cli.output.base import Output
from clanforge_async.cli.output.job_view import JobView
from clanforge_async.cli.output.live_table import most_important, render_live_table
from clanforge_async.cli.output.plain import format_live_warning, format_past_outage, format_result, reason_of

_FRAMES_PER_SECOND = 4


class LiveOutput(Output):
    """Shows all jobs in a live table, and prints the full reasons of failures below it at the end.

    Args:
        refs: Jobs that will be watched.
        api: The API.
    """

    def __init__(self, refs: Iterable[JobRef], api: ApiMonitor | None = None) -> None:
        # stdout is known to be a terminal here; rich would also look at variables such as FORCE_COLOR.
        self._console = Console(file=sys.stdout, force_terminal=True, highlight=False)
        self._start = datetime.now(UTC)
        self._views = {ref: JobView(ref) for ref in refs}
        self._failures: list[WatchResult] = []
        self._last_lines: list[str] = []
        self._api = api
        self._watcher: JobWatcher | None = None
        self._is_last = False
        self._resize_hook = ResizeHook(self._console)
        self._live = _Live(
            console=self._console,
            get_renderable=self._render,
            refresh_per_second=_FRAMES_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=sys.stderr.isatty(),
            vertical_overflow="crop",
        )

    def __enter__(self) -> Self:
        self._console.push_render_hook(self._resize_hook)
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_last = True
        self._live.stop()
        self._console.pop_render_hook()
        for result in self._failures:
            if not self._is_shown(result):
                self._console.print(Text(format_result(result)), soft_wrap=True)

    def _is_shown(self, result: WatchResult) -> bool:
        """Return whether the last frame has a row with the whole reason."""
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
        # Here and not in the refreshing thread: a watcher serves the event loop alone.
        if view.lacks_eta and self._watcher is not None:
            forecast = self._watcher.forecast(view.ref)
            view = evolve(view, forecast=None if forecast is None else forecast.p50)
        self._views[view.ref] = view

    def result(self, result: WatchResult) -> None:
        """Show the result in the job's row."""
        view = self._views[result.ref]
        self._views[result.ref] = evolve(view, job=result.job or view.job, result=result)
        if result.error is not None:
            self._failures.append(result)

    def recovery(self, recovery: Recovery) -> None:
        """Print the outage above the table, where it stays."""
        self._console.print(Text(format_past_outage(recovery)), soft_wrap=True)

    def tick(self) -> None:
        """Bring the forecasts on the screen up to date: a poll changes them even if it shows no change.

        Raises:
            OSError: The refreshing thread met it: the terminal may be gone.
        """
        if self._live.error is not None:
            raise self._live.error
        shown, _ = most_important(list(self._views.values()), self._console.height)
        for view in shown:
            self._show(view)

    def _render(self) -> Group:
        width, height = self._console.size
        now = datetime.now(UTC)
        lines = render_live_table(
            list(self._views.values()),
            start=self._start,
            now=now,
            polls=self._api.requests if self._is_last and self._api is not None else None,
            warning=format_live_warning(self._api, now),
            width=width,
            height=height,
            ascii_only=self._console.options.ascii_only,
        )
        self._last_lines = [line.plain for line in lines]
        self._resize_hook.next_widths = [line.cell_len for line in lines]
        return Group(*lines)


class _Live(Live):
    """A live display that keeps an error of its refreshing thread, which would print a traceback.

    Attributes:
        error: The error; None: there was none.
    """

    error: OSError | None = None

    def refresh(self) -> None:
        try:
            super().refresh()
        except OSError as error:
            if threading.current_thread() is threading.main_thread():
                raise
            self.error = error


class ResizeHook(RenderHook):
    """Erases the lines that a terminal wrapped when it became narrower.

    rich moves the cursor up by as many lines as it has written. A wrapped line takes several, and the rest would stay
    above the next frame.

    Args:
        console: Console that draws the frames.

    Attributes:
        next_widths: Width of each line of the next frame; set before it is drawn.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._drawn_widths: Sequence[int] = ()
        self.next_widths: Sequence[int] = ()

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Return the frame, preceded by control codes that erase the additional lines of the last one."""
        width = max(self._console.width, 1)
        additional = sum((drawn - 1) // width for drawn in self._drawn_widths if drawn > width)
        self._drawn_widths = self.next_widths
        erase = ((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)) * additional
        return [Control(*erase), *renderables] if additional else renderables
