"""The live view of releases: the table of `release_table`."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from rich.text import Text

from clanforge_async import JobWatcher, ReleaseEvent, ReleaseResult
from clanforge_async.cli.outages import ApiMonitor
from clanforge_async.cli.output.job_view import JobView, with_forecast
from clanforge_async.cli.output.live_view import Frame, LiveView
from clanforge_async.cli.output.release_table import ReleaseView, render_release_table
from clanforge_async.cli.output.releases import format_event


class LiveReleaseOutput(LiveView):
    """Shows a table that follows the releases.

    Args:
        images: The images that are released.
        api: The API.
    """

    def __init__(self, images: Sequence[int], api: ApiMonitor | None = None) -> None:
        self._views = {image: ReleaseView(image) for image in images}
        self._watcher: JobWatcher | None = None
        super().__init__(api)  # draws a first frame

    def begin(self, watcher: JobWatcher) -> None:
        """Take forecasts from the watcher."""
        self._watcher = watcher

    @contextmanager
    def paused(self) -> Generator[None]:
        """Stop drawing while a question is on the terminal."""
        self._live.stop()
        try:
            yield
        finally:
            self._live = self._make_live()  # a new display: the old one would draw over the question
            self._live.start()

    def release_event(self, event: ReleaseEvent) -> None:
        """Show an event."""
        if event.kind == "finished":
            return
        view = self._views[event.release.image_id]
        view.step, view.text = event.step, format_event(event)
        view.job = None if event.job is None else JobView(event.job.ref, event.job)

    def release_result(self, result: ReleaseResult) -> None:
        """Show the result of a release."""
        self._views[result.image_id].result = result

    def tick(self) -> None:
        """Update the forecasts: each poll changes them, even if the job is unchanged.

        Raises:
            OSError: The thread that redraws could not write: the terminal may be closed.
        """
        super().tick()
        for view in self._views.values():
            if view.job is not None:
                view.job = with_forecast(view.job, self._watcher)

    def draw(self, frame: Frame) -> list[Text]:
        """Return the lines of the table."""
        return render_release_table(list(self._views.values()), frame)
