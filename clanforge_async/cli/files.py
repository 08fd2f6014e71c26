"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def writable_file(text: str) -> Path:
    """Return the path of a file that can be written, so that nobody learns hours later that it cannot.

    Raises:
        OSError: It cannot, for what is known now.
    """
    path = Path(text).resolve()
    if path.exists() and not path.is_file():
        msg = f"{text} is not a regular file"
        raise OSError(msg)
    if not path.parent.is_dir():
        msg = f"there is no folder {path.parent}"
        raise OSError(msg)
    if not os.access(path.parent, os.W_OK):
        msg = f"the folder {path.parent} is not yours to write to"
        raise OSError(msg)
    return path


def write_whole(path: Path, text: str) -> None:
    """Write a file in one step: whoever reads it meanwhile, or after a crash, finds the old one or the new one.

    Raises:
        OSError: It could not be written; what was there before still is.
    """
    # Beside it, since a file can take another's place only on one file system; not by tempfile, whose files are
    # for their owner's eyes alone.
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, "utf-8")
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
