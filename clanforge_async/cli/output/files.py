"""Writes the files of outputs atomically, with a warning if that fails."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from clanforge_async.cli.formatting import print_err


def write_or_warn(path: Path, text: str, name: str) -> None:
    """Write a file atomically; if that fails, print a warning.

    Args:
        path: The file.
        text: Its new content.
        name: Name of the file in the warning.
    """
    try:
        write_atomically(path, text)
    except OSError as error:  # only a warning: the exit status reports the outcome of the jobs
        print_err(f"warning: {name} could not be written: {error}")


def write_atomically(path: Path, text: str) -> None:
    """Write a file atomically: a reader sees the old or the new content, even after a crash.

    Raises:
        OSError: Writing failed; the old file is unchanged.
    """
    # In the same folder, since a rename replaces a file only within a file system. Not with tempfile, whose files only
    # their owner can read.
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, "utf-8")
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
