"""The command line, ``clanforge``.

Nothing here needs an extra to be imported, so that a missing one can be named instead of shown as a traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

_EXTRAS = {"typer": "cli", "rich": "cli", "starlette": "cli,simulator", "uvicorn": "cli,simulator"}
_MISUSED, _INTERRUPTED = 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``clanforge`` and return its exit status.

    Args:
        argv: The arguments without the program's name; None: those of this process.
    """
    try:
        from clanforge_async.cli.entry import execute  # noqa: PLC0415 - needs the extra

        return execute(sys.argv[1:] if argv is None else argv)
    except ImportError as error:
        # The simulator says by itself what it misses, in words for those who import it.
        missing = next((e.name for e in (error, error.__cause__) if isinstance(e, ModuleNotFoundError)), None) or ""
        extras = _EXTRAS.get(missing.partition(".")[0])
        if extras is None:
            raise
        sys.stderr.write(f"error: {missing} is not installed: pip install 'clanforge-async[{extras}]'\n")
        return _MISUSED
    except KeyboardInterrupt:  # so early that there is nothing to tell yet
        return _INTERRUPTED
