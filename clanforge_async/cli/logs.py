"""The package's log, told on stderr as everything else is."""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

from clanforge_async.cli.text import say

T = TypeVar("T")

_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


class _Sayings(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        when = datetime.fromtimestamp(record.created, UTC).astimezone()
        prefix = "" if record.levelno >= logging.WARNING else f"{when:%H:%M:%S} "
        say(f"{prefix}{record.levelname.lower()}: {record.getMessage()}")


async def logged(command: Coroutine[Any, Any, T], verbose: int) -> T:
    """Run a command and tell what is logged meanwhile.

    Args:
        command: What to run.
        verbose: 0 for warnings, 1 for all that happens to jobs, 2 for each request too.
    """
    logger = logging.getLogger("clanforge_async")
    level, handler = logger.level, _Sayings()
    handler.setLevel(_LEVELS[min(verbose, len(_LEVELS) - 1)])
    if verbose:  # else it is left as it is: whoever runs this as a part of a program may listen too
        logger.setLevel(handler.level)
    logger.addHandler(handler)
    try:
        return await command
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
