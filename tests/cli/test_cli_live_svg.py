from __future__ import annotations

import re
from html import unescape

import pytest
from support.cli.live_svg import IMAGE, record, render_svg


def words(image: str) -> list[str]:
    """The words in an SVG, regardless of how rich splits and places them."""
    text = "".join(re.findall(r"<text[^>]*>([^<]*)</text>", image))
    return unescape(text).replace("\xa0", " ").split()


@pytest.mark.usefixtures("utc")
def test_the_image_is_up_to_date() -> None:
    """The README's image matches the live table; ``PYTHONPATH=tests python -m support.cli.live_svg`` redraws it."""
    drawn = IMAGE.read_text("utf-8")
    assert words(drawn) == words(render_svg())
    assert "".join(record().export_text().split()) in "".join(words(drawn))


def test_the_image_loads_no_resources() -> None:
    """The README's image loads no fonts, images or style sheets."""
    assert not re.findall(r"@font-face|@import|url\((?!#)|<image|<script|href", IMAGE.read_text("utf-8"))
