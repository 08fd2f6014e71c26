"""The live view of releases: one line an image, with its steps."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Self

from attrs import define
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from clanforge_async import ReleaseEvent, ReleaseResult, ReleaseStep
from clanforge_async.cli.output.releases import format_event, format_result

_OUTCOME_STYLES = {
    "released": "green",
    "unchanged": "green",
    "held": "yellow",
    "rejected": "bold red",
    "failed": "bold red",
}


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


class LiveReleaseOutput:
    """Shows a table that follows the releases.

    Args:
        images: The images that are released.
    """

    def __init__(self, images: list[int]) -> None:
        self._lines = {image: _Line() for image in images}
        self._live = Live(console=Console(), auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        self._show()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()

    @contextmanager
    def paused(self) -> Generator[None]:
        """Free the terminal for a question."""
        self._live.stop()
        try:
            yield
        finally:
            self._live.start()

    def event(self, event: ReleaseEvent) -> None:
        """Show an event."""
        if event.kind != "finished":
            line = self._lines[event.release.image_id]
            line.step, line.text = event.step, format_event(event)
            self._show()

    def result(self, result: ReleaseResult) -> None:
        """Show how a release ended."""
        line = self._lines[result.image_id]
        line.outcome, line.text = result.outcome, format_result(result)
        self._show()

    def _show(self) -> None:
        table = Table.grid(padding=(0, 2))
        for _ in range(3):
            table.add_column(no_wrap=True, overflow="ellipsis")
        for image, line in self._lines.items():
            table.add_row(str(image), _steps(line), Text(line.text, _OUTCOME_STYLES.get(line.outcome, "")))
        self._live.update(table, refresh=True)


def _steps(line: _Line) -> Text:
    """Return the steps: those behind it green, the present one bold, those to come dim."""
    steps, text = list(ReleaseStep), Text()
    present = -1 if line.step is None else steps.index(line.step)
    for number, step in enumerate(steps):
        is_done = number < present or line.outcome == "released"
        style = "green" if is_done else "bold" if number == present else "dim"
        text.append(f"{step} ", style)
    return text
