"""The README's image of the live table; ``PYTHONPATH=tests python -m support.cli.live_svg`` redraws it."""

from __future__ import annotations

import inspect
import io
import os
import re
import time
from pathlib import Path

from rich.console import Console
from support.cli.sample_jobs import BEGAN, NOW, sample_views

from clanforge_async.cli.output.live_table import render_live_table

IMAGE = Path(__file__).parents[3] / "docs" / "live.svg"
WIDTH = 98


def record() -> Console:
    """Return a console that recorded one frame, with room for 10 of its 12 jobs."""
    console = Console(
        file=io.StringIO(), record=True, width=WIDTH, force_terminal=True, color_system="truecolor", highlight=False
    )
    command = "clanforge watch --timeout 90m --report deployment.html - < images.txt"
    console.print(f"[bold green]$[/] {command}", soft_wrap=True)
    for line in render_live_table(sample_views(), start=BEGAN, now=NOW, width=WIDTH, height=13):
        console.print(line)
    return console


def render_svg() -> str:
    """Return the SVG: rich's, without the fonts that it loads from the web."""
    usual = inspect.signature(Console.export_svg).parameters["code_format"].default
    alone = re.sub(r"@font-face \{\{.*?\}\}", "", usual, flags=re.DOTALL)
    drawn = record().export_svg(title="clanforge", code_format=alone, unique_id="live")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + "\n".join(map(str.rstrip, drawn.splitlines())) + "\n"


if __name__ == "__main__":
    os.environ["TZ"] = "UTC"
    time.tzset()
    IMAGE.write_text(render_svg(), "utf-8")
