"""The live view of releases: one line an image, with its steps."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Self

from attrs import define
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from clanforge_async import ReleaseEvent, ReleaseResult, ReleaseStep
from clanforge_async.cli.formatting import style_of
from clanforge_async.cli.outages import ApiMonitor, Recovery
from clanforge_async.cli.output.base import Output
from clanforge_async.cli.output.plain import format_live_warning, format_past_outage
from clanforge_async.cli.output.releases import format_event, format_result


@define
class _Line:
    """What is shown of one image.

    Attributes:
        step: The step that it has come to; None before its turn.
        text: What was last seen.
        outcome: How it ended, once it has.
    """

    step: ReleaseStep | None = None
    text: str = "waiting"
    outcome: str = ""


class LiveReleaseOutput(Output):
    """Shows a table that follows the releases.

    Args:
        images: The images that are released.
        api: The API.
    """

    def __init__(self, images: Sequence[int], api: ApiMonitor | None = None) -> None:
        self._lines = {image: _Line() for image in images}
        self._api = api
        self._live = Live(console=Console(), auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        self._show()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    @contextmanager
    def paused(self) -> Generator[None]:
        """Free the terminal for a question."""
        self._live.stop()
        try:
            yield
        finally:
            self._live.start()

    def release_event(self, event: ReleaseEvent) -> None:
        """Show an event."""
        if event.kind != "finished":
            line = self._lines[event.release.image_id]
            line.step, line.text = event.step, format_event(event)
            self._show()

    def release_result(self, result: ReleaseResult) -> None:
        """Show how a release ended."""
        line = self._lines[result.image_id]
        line.outcome, line.text = result.outcome, format_result(result)
        self._show()

    def recovery(self, recovery: Recovery) -> None:
        """Print the outage above the table, where it stays."""
        self._live.console.print(Text(format_past_outage(recovery)), soft_wrap=True)

    def tick(self) -> None:
        """Show what is wrong with the API."""
        self._show()

    def _show(self) -> None:
        table = Table.grid(padding=(0, 2))
        for _ in range(3):
            table.add_column(no_wrap=True, overflow="ellipsis")
        for image, line in self._lines.items():
            table.add_row(str(image), _steps(line), Text(line.text, style_of(line.outcome)))
        warning = Text(format_live_warning(self._api, datetime.now(UTC)), "bold red")
        self._live.update(Group(table, warning) if warning else table, refresh=True)


def _steps(line: _Line) -> Text:
    """Return the steps: those behind it green, the present one bold, those to come dim."""
    steps, text = list(ReleaseStep), Text()
    present = -1 if line.step is None else steps.index(line.step)
    for number, step in enumerate(steps):
        is_done = number < present or line.outcome == "released"
        style = "green" if is_done else "bold" if number == present else "dim"
        text.append(f"{step} ", style)
    return text
