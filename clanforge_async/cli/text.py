"""Text for people: what a server says is shown to them, never obeyed by their terminal."""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import UTC, datetime

_LONGEST = 1000
"""Characters of foreign text to show, at the most: an error's message may be a whole page of a gateway."""


def visible(text: str) -> str:
    r"""Return a text with everything that does not print as itself written out, as in ``\x1b``.

    That goes for control characters, line ends, and the marks that change the direction of writing.
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def brief(text: str) -> str:
    """Return a foreign text made visible, and no longer than anybody reads."""
    return visible(text if len(text) <= _LONGEST else text[:_LONGEST] + "...")


def instant(moment: datetime) -> str:
    """Return a moment as ISO 8601 in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def say(sentence: str) -> None:
    """Tell the user something that is no result, on stderr."""
    # Whoever closed stderr does not want to hear this either.
    with suppress(BrokenPipeError):
        print(visible(sentence), file=sys.stderr, flush=True)  # noqa: T201 - the one place that does


def write(line: str) -> None:
    """Give out one line of results, on stdout, at once."""
    print(line, flush=True)  # noqa: T201 - the one place that does
