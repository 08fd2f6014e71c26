"""The README's picture of the live view; ``PYTHONPATH=tests python -m cli.live_picture`` draws it anew."""

from __future__ import annotations

import inspect
import io
import os
import re
import time
from pathlib import Path

from rich.console import Console
from support.cli.scenes import BEGAN, NOW, deployment

from clanforge_async.cli.output.live_table import render_live_table

PICTURE = Path(__file__).parents[3] / "docs" / "live.svg"
WIDTH = 98


def scene() -> Console:
    """Return a console that has recorded one frame, with room for ten of its dozen jobs."""
    console = Console(
        file=io.StringIO(), record=True, width=WIDTH, force_terminal=True, color_system="truecolor", highlight=False
    )
    command = "clanforge watch --timeout 90m --report deployment.html - < images.txt"
    console.print(f"[bold green]$[/] {command}", soft_wrap=True)
    for line in render_live_table(deployment(), start=BEGAN, now=NOW, width=WIDTH, height=13):
        console.print(line)
    return console


def svg() -> str:
    """Return the picture: rich's, but for the fonts that it would have readers fetch."""
    usual = inspect.signature(Console.export_svg).parameters["code_format"].default
    alone = re.sub(r"@font-face \{\{.*?\}\}", "", usual, flags=re.DOTALL)
    drawn = scene().export_svg(title="clanforge", code_format=alone, unique_id="live")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + "\n".join(map(str.rstrip, drawn.splitlines())) + "\n"


if __name__ == "__main__":
    os.environ["TZ"] = "UTC"
    time.tzset()
    PICTURE.write_text(svg(), "utf-8")
