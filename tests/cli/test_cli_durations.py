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
def test_a_duration_is_parsed(text: str, seconds: float) -> None:
    """A duration has units from days to seconds, in this order, or is a plain number of seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "0", "0m", "nan", "inf", "30m1h", "1h-5m", "5M", "1:30", "h", "٣s"])
def test_an_invalid_duration_is_rejected(text: str) -> None:
    """Any other text, and a duration that is not positive, is rejected with examples of valid durations."""
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
def test_a_duration_is_shown_in_two_units(seconds: float, text: str) -> None:
    """A duration is shown in its two largest units."""
    assert format_duration(seconds) == text
