"""From arguments to an exit status: the one place that handles errors."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from clanforge_async.cli.app import Command, UsageError, parse
from clanforge_async.cli.errors import BROKEN_PIPE, INTERRUPTED, USAGE_ERROR, exit_status, format_error
from clanforge_async.cli.formatting import print_err
from clanforge_async.errors import ClanforgeError


def execute(argv: Sequence[str]) -> int:
    """Run the command that the arguments name, and return the exit status."""
    _escape_unencodable_characters()
    try:
        command = parse(argv)
        return command if isinstance(command, int) else _run(command)
    except UsageError as error:
        print_err(f"error: {_usage_message(error)}")
        return USAGE_ERROR
    except ClanforgeError as error:
        print_err(format_error(error))
        return exit_status(error)
    except OSError as error:
        _discard_stdout()
        if isinstance(error, BrokenPipeError):
            return BROKEN_PIPE
        print_err(f"error: {error}")
        return exit_status(error)
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(command: Command) -> int:
    from clanforge_async.cli.event_loop import run_command  # noqa: PLC0415 - --help and --version need no event loop

    return run_command(command)


def _usage_message(error: Any) -> str:
    path = "clanforge" if error.ctx is None else error.ctx.command_path
    return f"{error.format_message().rstrip('.?')}; see '{path} --help'"


def _escape_unencodable_characters() -> None:
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _discard_stdout() -> None:
    # Unwritten output is still buffered: Python would try to write it again at exit, and print a warning.
    with suppress(OSError), open(os.devnull, "wb") as devnull:  # noqa: PTH123 - a device, not a path
        os.dup2(devnull.fileno(), sys.stdout.fileno())
