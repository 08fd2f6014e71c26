"""The package's log on stderr."""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

from clanforge_async.cli.formatting import print_err

T = TypeVar("T")

_SHOWN_OTHERWISE = {"cooling_down"}
"""Warnings that the commands report in another form, as part of an outage."""
_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


class _StderrHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if self.level == logging.WARNING and getattr(record, "clanforge_event", None) in _SHOWN_OTHERWISE:
            return
        when = datetime.fromtimestamp(record.created, UTC).astimezone()
        prefix = "" if record.levelno >= logging.WARNING else f"{when:%H:%M:%S} "
        print_err(f"{prefix}{record.levelname.lower()}: {record.getMessage()}")


async def run_with_logging(command: Coroutine[Any, Any, T], verbose: int) -> T:
    """Run a command and print the package's log records to stderr.

    Args:
        command: Command to run.
        verbose: 0: warnings; 1: also all events of jobs; 2: also each request.
    """
    logger = logging.getLogger("clanforge_async")
    level, handler = logger.level, _StderrHandler()
    handler.setLevel(_LEVELS[min(verbose, len(_LEVELS) - 1)])
    if verbose:  # otherwise keep the level, which a program that calls main() may have set
        logger.setLevel(handler.level)
    logger.addHandler(handler)
    try:
        return await command
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
