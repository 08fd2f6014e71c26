"""What a terminal does to lines when it gets narrower, made good at the next frame."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, ConsoleRenderable, RenderHook
from rich.control import Control
from rich.segment import ControlType


class Reflow(RenderHook):
    """Erases what rich does not know of: when a terminal gets narrower, it breaks the lines that it shows.

    rich goes back by as many lines as it has written. The others would stay above the next frame for ever.

    Args:
        console: Where the frames are drawn.

    Attributes:
        next_widths: The width of each line that is about to be drawn.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._drawn: Sequence[int] = ()
        self.next_widths: Sequence[int] = ()

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Return what is to be drawn, with the way back to where the last frame begins now."""
        width = max(self._console.width, 1)
        broken = sum((drawn - 1) // width for drawn in self._drawn if drawn > width)
        self._drawn = self.next_widths
        back = ((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)) * broken
        return [Control(*back), *renderables] if broken else renderables
