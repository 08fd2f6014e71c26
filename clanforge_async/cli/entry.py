"""From arguments to an exit status: the one place where errors end."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from clanforge_async import ClanforgeError
from clanforge_async.cli.app import UsageError, parse
from clanforge_async.cli.complaints import complaint
from clanforge_async.cli.outcomes import BROKEN_PIPE, INTERRUPTED, MISUSED, exit_status
from clanforge_async.cli.running import run
from clanforge_async.cli.text import say


def execute(argv: Sequence[str]) -> int:
    """Do what the arguments ask for, and return the exit status."""
    _accept_any_character()
    try:
        with _warnings_on_stderr():
            command = parse(argv)
            return command if isinstance(command, int) else run(command)
    except UsageError as error:
        say(f"error: {_wording(error)}")
        return MISUSED
    except ClanforgeError as error:
        say(complaint(error))
        return exit_status(error)
    except OSError as error:
        _discard_stdout()
        if isinstance(error, BrokenPipeError):
            return BROKEN_PIPE
        say(f"error: {error}")
        return exit_status(error)
    except KeyboardInterrupt:
        return INTERRUPTED


def _wording(error: Any) -> str:
    path = "clanforge" if error.ctx is None else error.ctx.command_path
    return f"{error.format_message().rstrip('.')}; see '{path} --help'"


def _accept_any_character() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _discard_stdout() -> None:
    # What could not be written is still buffered, and Python would complain when it tries once more at exit.
    with suppress(OSError), open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - no path of anybody's
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


class _Sayings(logging.Handler):
    """Tells warnings as everything else is told on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        say(f"{record.levelname.lower()}: {record.getMessage()}")


@contextmanager
def _warnings_on_stderr() -> Generator[None]:
    logger = logging.getLogger("clanforge_async")
    handler = _Sayings(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
