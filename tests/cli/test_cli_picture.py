from __future__ import annotations

import re
from html import unescape

import pytest
from support.cli.live_picture import PICTURE, scene, svg


def words(picture: str) -> list[str]:
    """All that a picture says, apart from how rich has cut it into pieces and where it has put them."""
    text = "".join(re.findall(r"<text[^>]*>([^<]*)</text>", picture))
    return unescape(text).replace("\xa0", " ").split()


@pytest.mark.usefixtures("utc")
def test_the_picture_shows_what_the_code_shows() -> None:
    """The README's picture is of the live view as it is; `python -m cli.live_picture` draws it anew."""
    drawn = PICTURE.read_text("utf-8")
    assert words(drawn) == words(svg())
    assert "".join(scene().export_text().split()) in "".join(words(drawn))


def test_the_picture_is_all_by_itself() -> None:
    """Nothing is fetched for whoever looks at it."""
    assert not re.findall(r"@font-face|@import|url\((?!#)|<image|<script|href", PICTURE.read_text("utf-8"))
