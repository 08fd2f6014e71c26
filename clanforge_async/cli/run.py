"""Runs a command line and returns its exit status: the only place that handles errors."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Any

import typer

from clanforge_async.cli.app import parse
from clanforge_async.cli.errors import INTERRUPTED, USAGE_ERROR, exit_status, format_error
from clanforge_async.cli.formatting import discard, print_err, print_traceback
from clanforge_async.cli.usage import Command, UsageError
from clanforge_async.errors import ClanforgeError


def execute(argv: Sequence[str]) -> int:
    """Run the command that the arguments name, and return the exit status."""
    _escape_unencodable_characters()
    try:
        command = parse(argv)
        return command if isinstance(command, int) else _run(command)
    except KeyboardInterrupt:  # before the command runs, while stdin is read
        return INTERRUPTED
    except ImportError:  # the caller reports missing extras
        raise
    except Exception as error:  # noqa: BLE001 - Python would exit with 1, which means a failed job
        return _report(error)


def _report(error: Exception) -> int:
    if isinstance(error, UsageError):
        print_err(f"error: {_usage_message(error)}")
        return USAGE_ERROR
    if isinstance(error, ClanforgeError):
        print_err(format_error(error))
    elif isinstance(error, OSError):
        discard(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            print_err(f"error: {error}")
    else:
        print_err(f"error: unexpected {type(error).__name__}, a bug in clanforge-async:")
        print_traceback(error)
    return exit_status(error)


def _run(command: Command) -> int:
    from clanforge_async.cli.event_loop import run_command  # noqa: PLC0415 - --help and --version need no event loop

    return run_command(command)


def _usage_message(error: Any) -> str:
    path = "clanforge" if error.ctx is None else error.ctx.command_path
    # click says "Invalid value: " even if no single parameter is wrong
    is_of_none = isinstance(error, typer.BadParameter) and error.param is None
    message: str = error.message if is_of_none else error.format_message()
    return f"{message.rstrip('.?')}; see '{path} --help'"


def _escape_unencodable_characters() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
