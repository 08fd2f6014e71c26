from __future__ import annotations

import pytest

from clanforge_async.cli.formatting import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("45s", 45),
        ("90m", 5400),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1h 30m 5s", 5405),
        ("1d12h", 129600),
        ("0.5h", 1800),
        ("7200", 7200),
        ("0.05", 0.05),
        ("1e3", 1000),
        (" 5 ", 5),
    ],
)
def test_a_duration_is_read_as_people_write_it(text: str, seconds: float) -> None:
    """Units from days to seconds, in this order, or a plain number of seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "0", "0m", "nan", "inf", "30m1h", "1h-5m", "5M", "1:30", "h", "٣s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Everything else is refused with what a duration looks like, also one in which no time passes."""
    with pytest.raises(ValueError, match="is not a duration such as 45s, 90m, 1h30m"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0.4, "0s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (185, "3m05s"),
        (5400, "1h30m"),
        (86399, "23h59m"),
        (187200, "2d04h"),
    ],
)
def test_a_duration_is_shown_in_its_two_greatest_units(seconds: float, text: str) -> None:
    """Nobody who waits for hours counts the seconds."""
    assert format_duration(seconds) == text
