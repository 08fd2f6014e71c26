"""Text on the terminal: escaping, durations, counts and colours."""

from __future__ import annotations

import itertools
import math
import os
import re
import select
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TextIO, TypeAlias

SEVERITY_ORDER: tuple[str, ...] = (
    "failed",
    "squashed",
    "rejected",
    "timeout",
    "error",
    "running",
    "queued",
    "pending",
    "created",
    "not polled yet",
    "unfinished",
    "held",
    "completed",
    "released",
    "unchanged",
)
"""All outcomes and states, the most severe first."""

Styler: TypeAlias = Callable[[str], str]
"""Styles a state or outcome."""

_FLUSH_TIMEOUT = 1.0
"""Seconds to wait at exit until a full pipe accepts the buffered output."""
_MAX_LENGTH = 1000
"""Longest text from the server to show, in characters: an error message may be a gateway's whole HTML page."""
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile("".join(rf"(?:(?P<{unit}>[0-9]+(?:\.[0-9]+)?){unit})?\s*" for unit in _UNITS), re.ASCII)
_STYLES = {
    "running": "cyan",
    "completed": "green",
    "failed": "bold red",
    "squashed": "yellow",
    "timeout": "bold red",
    "error": "bold red",
    "released": "green",
    "unchanged": "green",
    "held": "yellow",
    "rejected": "bold red",
}


def print_err(line: str) -> None:
    """Print a message to stderr, escaped."""
    # If stderr can't be written to, no one can read the message; the command continues.
    if sys.stderr is not None:
        with suppress(OSError):
            print(escape(line), file=sys.stderr, flush=True)  # noqa: T201 - the only place that prints to stderr


def print_traceback(error: BaseException) -> None:
    """Print an exception's traceback to stderr, escaped."""
    for line in "".join(traceback.format_exception(error)).splitlines():
        print_err(line)


def print_line(line: str) -> None:
    """Print a line of results to stdout and flush it."""
    print(line, flush=True)  # noqa: T201 - the only place that prints to stdout


def discard(stream: TextIO) -> None:
    """Discard all further output to stdout or stderr, and output that is still buffered."""
    # Python would try to write buffered output again at exit: it would wait for a full pipe, or print a warning.
    with suppress(OSError), open(os.devnull, "wb") as devnull:  # noqa: PTH123 - a device, not a path
        os.dup2(devnull.fileno(), stream.fileno())


def flush_or_discard(stream: TextIO | None) -> None:
    """Write the buffered output, or discard it if that fails because the terminal is closed or the pipe is full."""
    if stream is not None:
        try:
            if _is_writable(stream):
                stream.flush()
                return
        except OSError:
            pass
        discard(stream)


def _is_writable(stream: TextIO) -> bool:
    if sys.platform == "win32":  # pragma: no cover - select accepts only sockets there
        return True
    return bool(select.select([], [stream.fileno()], [], _FLUSH_TIMEOUT)[1])


def escape(text: str) -> str:
    r"""Return a text with each unprintable character escaped, as in ``\x1b``.

    These are control characters, line breaks, and marks that change the direction of writing.
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def escape_and_truncate(text: str) -> str:
    """Return a text from the server, escaped and truncated to 1,000 characters."""
    return escape(text if len(text) <= _MAX_LENGTH else text[:_MAX_LENGTH] + "...")


def format_datetime(moment: datetime, precision: str = "auto") -> str:
    """Return a time as ISO 8601 in UTC, with the precision that `datetime.isoformat` names."""
    return moment.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def parse_duration(text: str) -> float:
    """Return the seconds in ``90m``, ``1h30m``, ``45s``, or a plain number of seconds.

    Raises:
        ValueError: The text is not a duration, or the duration is not positive.
    """
    match = _DURATION.fullmatch(text.strip())
    try:
        parts = {} if match is None else {unit: float(count) for unit, count in match.groupdict().items() if count}
        seconds = sum(count * _UNITS[unit] for unit, count in parts.items()) if parts else float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        msg = f"{text!r} is not a duration such as 45s, 90m, 1h30m or a positive number of seconds"
        raise ValueError(msg)
    return seconds


def format_duration(seconds: float) -> str:
    """Return a duration in its two largest units: ``12s``, ``3m05s``, ``1h30m``, ``2d04h``."""
    whole = max(0, round(seconds))
    for large, small in itertools.pairwise(_UNITS):
        if whole >= _UNITS[large]:
            count, rest = divmod(whole, _UNITS[large])
            return f"{count}{large}{rest // _UNITS[small]:02}{small}"
    return f"{whole}s"


def format_short_duration(seconds: float) -> str:
    """Return a duration in its largest unit only, rounded down: ``12s``, ``3m``, ``1h``."""
    whole = max(0, round(seconds))
    unit = next((unit for unit, length in _UNITS.items() if whole >= length), "s")
    return f"{whole // _UNITS[unit]}{unit}"


def format_age(seconds: float) -> str:
    """Return the time since an event: ``4s ago``, ``12m ago``; ``now`` for one in the future."""
    return f"{format_short_duration(seconds)} ago" if seconds >= 0 else "now"


def format_time_left(seconds: float) -> str:
    """Return the time until an event: ``in 3m05s``, ``due now``, ``overdue 4m``."""
    if abs(seconds) < 1:
        return "due now"
    return f"in {format_duration(seconds)}" if seconds > 0 else f"overdue {format_short_duration(-seconds)}"


def format_local_time(moment: datetime, now: datetime) -> str:
    """Return a time in the local time zone, with its weekday if it is not today; empty if it cannot be converted."""
    with suppress(OverflowError, OSError):  # datetime.max has no local time in some zones
        local = moment.astimezone()
        return f"{local:%H:%M:%S}" if local.date() == now.astimezone().date() else f"{local:%a %H:%M}"
    return ""


def format_counts(names: Iterable[str]) -> str:
    """Return how often each state or outcome occurs, by severity: ``1 failed, 3 running, 2 completed``."""
    counts = Counter(names)
    known = [name for name in SEVERITY_ORDER if name in counts]
    return ", ".join(f"{counts[name]} {name}" for name in dict.fromkeys([*known, *counts]))


def format_count(count: int, noun: str) -> str:
    """Return ``1 poll``, ``2 polls``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def format_job_count(count: int) -> str:
    """Return ``1 job``, ``2 jobs``."""
    return format_count(count, "job")


def style_of(name: str) -> str:
    """Return rich's style for a state or outcome."""
    return _STYLES.get(name.lower(), "")


def stdout_styler() -> Styler:
    """Return a styler for stdout; it adds no colours unless stdout is a terminal or ``FORCE_COLOR`` is set."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    return _add_style if is_terminal or os.environ.get("FORCE_COLOR") else str


def _add_style(name: str) -> str:
    from rich.console import Console  # noqa: PLC0415 - slow to import, and a pipe doesn't need it
    from rich.text import Text  # noqa: PLC0415 - as above

    console = Console(file=sys.stdout)
    if console.color_system is None or console.no_color:
        return name
    with console.capture() as captured:
        console.print(Text(name, style_of(name)), end="", soft_wrap=True)
    return captured.get()
