"""From arguments to an exit status: the one place where errors end."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from clanforge_async.cli.app import Command, UsageError, parse
from clanforge_async.cli.outcomes import BROKEN_PIPE, INTERRUPTED, MISUSED, exit_status
from clanforge_async.cli.text import say
from clanforge_async.errors import ClanforgeError


def execute(argv: Sequence[str]) -> int:
    """Do what the arguments ask for, and return the exit status."""
    _accept_any_character()
    try:
        command = parse(argv)
        return command if isinstance(command, int) else _run(command)
    except UsageError as error:
        say(f"error: {_wording(error)}")
        return MISUSED
    except ClanforgeError as error:
        from clanforge_async.cli.complaints import complaint  # noqa: PLC0415 - nor complaints

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


def _run(command: Command) -> int:
    from clanforge_async.cli.running import run  # noqa: PLC0415 - --help and --version need no event loop

    return run(command)


def _wording(error: Any) -> str:
    path = "clanforge" if error.ctx is None else error.ctx.command_path
    return f"{error.format_message().rstrip('.?')}; see '{path} --help'"


def _accept_any_character() -> None:
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _discard_stdout() -> None:
    # What could not be written is still buffered, and Python would complain when it tries once more at exit.
    with suppress(OSError), open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - no path of anybody's
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
