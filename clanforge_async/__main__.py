"""The process of ``clanforge``, which is also ``python -m clanforge_async``."""

import atexit
import os
import sys

from clanforge_async.cli import main


def run() -> int:
    """Run ``clanforge`` with the arguments of this process, and return its exit status."""
    status = main()
    if "temporalio" in sys.modules:
        _exit_without_finalization(status)
    return status


def _exit_without_finalization(status: int) -> None:
    """End the process without Python's finalization, during which a thread of Temporal's SDK may abort it."""
    from clanforge_async.cli.formatting import flush_or_discard  # noqa: PLC0415 - loads asyncio

    for stream in (sys.stdout, sys.stderr):
        flush_or_discard(stream)
    atexit._run_exitfuncs()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - os._exit skips them
    os._exit(status)  # pragma: no cover - an exit function has saved the coverage by now


if __name__ == "__main__":
    sys.exit(run())
