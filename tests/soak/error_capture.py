"""Captures errors that are never raised: unhandled exceptions of the loop, unraisable ones, warnings and logs."""

from __future__ import annotations

import asyncio
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _CaptureHandler(logging.Handler):
    def __init__(self, captured: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._captured = captured

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "clanforge_event", None) != "cooling_down":  # expected: 429 and 503 are injected on purpose
            self._captured.append(f"{record.name}: {record.getMessage()}")


@contextmanager
def capture_errors() -> Iterator[list[str]]:
    """Collect unraised errors of the running loop and of this process."""
    captured: list[str] = []
    loop, log_handler, root = asyncio.get_running_loop(), _CaptureHandler(captured), logging.getLogger()
    exception_handler, hook = loop.get_exception_handler(), sys.unraisablehook

    def handle_exception(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        captured.append(f"asyncio: {context['message']}: {context.get('exception')!r}")

    root.addHandler(log_handler)
    loop.set_exception_handler(handle_exception)
    sys.unraisablehook = lambda unraisable: captured.append(f"unraisable: {unraisable.exc_value!r}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(True)
            yield captured
    finally:
        logging.captureWarnings(False)
        sys.unraisablehook = hook
        loop.set_exception_handler(exception_handler)
        root.removeHandler(log_handler)
