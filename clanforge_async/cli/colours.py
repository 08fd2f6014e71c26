"""Colours: what they stand for, always beside a word that says the same."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

_STYLES = {
    "running": "cyan",
    "completed": "green",
    "failed": "bold red",
    "squashed": "yellow",
    "timeout": "bold red",
    "error": "bold red",
}

Painter = Callable[[str], str]
"""Takes a word for what became of a job, and returns it as it is to be written."""


def style_of(word: str) -> str:
    """Return the style, as rich names it, for a state or for how a job ended."""
    return _STYLES.get(word.lower(), "")


def painter() -> Painter:
    """Return what paints words where rich would: on terminals that have colours, and where they are forced."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    return _paint if is_terminal or os.environ.get("FORCE_COLOR") else str


def _paint(word: str) -> str:
    from rich.console import Console  # noqa: PLC0415 - rich takes its time, and a pipe has no use for it
    from rich.text import Text  # noqa: PLC0415 - as above

    console = Console(file=sys.stdout)
    if console.color_system is None or console.no_color:
        return word
    with console.capture() as captured:
        console.print(Text(word, style_of(word)), end="", soft_wrap=True)
    return captured.get()
