"""The command line, ``clanforge``.

This module imports no extra, so that a missing extra is reported by name and without a traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

_EXTRAS = {
    "typer": "cli",
    "rich": "cli",
    "starlette": "cli,simulator",
    "uvicorn": "cli,simulator",
    "temporalio": "cli,temporal",
}
_USAGE_ERROR, _SIGNALLED, _INTERRUPTED = 2, 128, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``clanforge`` and return its exit status.

    Args:
        argv: Arguments without the program's name; None: those of this process.
    """
    status = _execute(sys.argv[1:] if argv is None else argv)
    if status > _SIGNALLED:
        from clanforge_async.cli.event_loop import ignore_signals  # noqa: PLC0415 - loads asyncio
        from clanforge_async.cli.formatting import flush_or_discard  # noqa: PLC0415 - as above

        if argv is None:
            ignore_signals()
        # At exit, Python flushes both again: it would wait for a full pipe, and an error would change the status.
        for stream in (sys.stdout, sys.stderr):
            flush_or_discard(stream)
    return status


def _execute(argv: Sequence[str]) -> int:
    try:
        from clanforge_async.cli.run import execute  # noqa: PLC0415 - needs the extra

        return execute(argv)
    except ImportError as error:
        # The simulator raises its own ImportError, whose message is for programs that import it.
        missing = next((e.name for e in (error, error.__cause__) if isinstance(e, ModuleNotFoundError)), None) or ""
        extras = _EXTRAS.get(missing.partition(".")[0])
        if extras is None:
            raise
        sys.stderr.write(f"error: {missing} is not installed: pip install 'clanforge-async[{extras}]'\n")
        return _USAGE_ERROR
    except KeyboardInterrupt:  # during startup, before there is anything to report
        return _INTERRUPTED
