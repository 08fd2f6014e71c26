"""What nobody would hear of: unhandled exceptions of the loop, warnings, and what is logged as one."""

from __future__ import annotations

import asyncio
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _Ear(logging.Handler):
    def __init__(self, complaints: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._complaints = complaints

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "clanforge_event", None) != "cooling_down":  # which is among the faults that are made here
            self._complaints.append(f"{record.name}: {record.getMessage()}")


@contextmanager
def listening() -> Iterator[list[str]]:
    """Collect the complaints of the running loop and of this process."""
    complaints: list[str] = []
    loop, ear, root = asyncio.get_running_loop(), _Ear(complaints), logging.getLogger()
    handler, hook = loop.get_exception_handler(), sys.unraisablehook

    def hear_loop(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        complaints.append(f"asyncio: {context['message']}: {context.get('exception')!r}")

    root.addHandler(ear)
    loop.set_exception_handler(hear_loop)
    sys.unraisablehook = lambda unraisable: complaints.append(f"unraisable: {unraisable.exc_value!r}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(True)
            yield complaints
    finally:
        logging.captureWarnings(False)
        sys.unraisablehook = hook
        loop.set_exception_handler(handler)
        root.removeHandler(ear)
