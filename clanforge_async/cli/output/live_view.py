"""The base of the live views on a terminal: redraws lines four times a second."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Self

from attrs import frozen
from rich.console import Console, ConsoleRenderable, Group, RenderHook
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

from clanforge_async.cli.outages import ApiMonitor, Recovery
from clanforge_async.cli.output.base import Output
from clanforge_async.cli.output.plain import format_live_warning, format_past_outage

_FRAMES_PER_SECOND = 4


@frozen(kw_only=True)
class Frame:
    """The moment and the terminal for which lines are drawn.

    Attributes:
        start: Start of the command.
        now: Time to show.
        width: Width of the terminal, in columns.
        height: Height of the terminal, in lines.
        requests: Number of requests, for the last frame; None: this is not the last.
        warning: The current problem with the API; empty if there is none.
        ascii_only: The terminal's encoding has no other characters.
    """

    start: datetime
    now: datetime
    width: int
    height: int
    requests: int | None = None
    warning: str = ""
    ascii_only: bool = False


class LiveView(Output):
    """Draws the lines that a subclass returns, fitted to the terminal's size.

    Args:
        api: The API.
    """

    def __init__(self, api: ApiMonitor | None = None) -> None:
        # The caller has checked that stdout is a terminal; rich would also check variables such as FORCE_COLOR.
        self.console: Console = Console(file=sys.stdout, force_terminal=True, highlight=False)
        self._start = datetime.now(UTC)
        self._api = api
        self._is_last = False
        self._resize_hook = ResizeHook(self.console)
        self._live = self._make_live()

    def _make_live(self) -> _Live:
        return _Live(
            console=self.console,
            get_renderable=self._render,
            refresh_per_second=_FRAMES_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=sys.stderr.isatty(),
            vertical_overflow="crop",
        )

    def __enter__(self) -> Self:
        self.console.push_render_hook(self._resize_hook)
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_last = True
        self._live.stop()
        self.console.pop_render_hook()

    def draw(self, frame: Frame) -> list[Text]:
        """Return the lines of a frame."""
        raise NotImplementedError

    def recovery(self, recovery: Recovery) -> None:
        """Print the outage above the table, where it stays."""
        self.console.print(Text(format_past_outage(recovery)), soft_wrap=True)

    def tick(self) -> None:
        """Raise the error of the thread that redraws, if there was one.

        Raises:
            OSError: The thread could not write: the terminal may be closed.
        """
        if self._live.error is not None:
            raise self._live.error

    def _render(self) -> Group:
        width, height = self.console.size
        now = datetime.now(UTC)
        lines = self.draw(
            Frame(
                start=self._start,
                now=now,
                width=width,
                height=height,
                requests=self._api.requests if self._is_last and self._api is not None else None,
                warning=format_live_warning(self._api, now, is_over=self._is_last),
                ascii_only=self.console.options.ascii_only,
            )
        )
        self._resize_hook.next_widths = [line.cell_len for line in lines]
        return Group(*lines)


class _Live(Live):
    """A live display that stores an error of the thread that redraws, which would otherwise print a traceback.

    Attributes:
        error: The error; None if there was none.
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

    rich moves the cursor up by the number of lines that it wrote. A wrapped line occupies several lines on the
    terminal, so a part of it would stay above the next frame.

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
        """Return the frame, preceded by control codes that erase the wrapped lines of the previous frame."""
        width = max(self._console.width, 1)
        additional = sum((drawn - 1) // width for drawn in self._drawn_widths if drawn > width)
        self._drawn_widths = self.next_widths
        erase = ((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)) * additional
        return [Control(*erase), *renderables] if additional else renderables
