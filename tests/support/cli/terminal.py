"""A pseudo-terminal for tests."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress

RUN_IN_NEW_SESSION = """
import fcntl, sys, termios
from clanforge_async.cli import main
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
sys.exit(main(sys.argv[1:]))
"""
_CODES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\r")


class Terminal:
    """A pseudo-terminal, initially of 80 columns and 24 lines, and everything that was written to it."""

    def __init__(self) -> None:
        self._master, self.fd = pty.openpty()
        self.resize(80, 24)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.shown = ""

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def wait_for(self, text: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: text in self.shown, timeout=20), f"{text!r} not in {self.shown!r}"

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def run(self, code: str, *argv: str) -> subprocess.Popen[bytes]:
        """Start a program on this terminal, and close the fd of this process."""
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-c", code, *argv],
            stdin=self.fd,
            stdout=self.fd,
            stderr=self.fd,
            start_new_session=True,
            env=dict(os.environ),  # not the C environment, in which readline may have set the size of another terminal
        )
        self.close_fd()
        return process

    @contextmanager
    def as_stdout(self) -> Iterator[None]:
        """Use it as this process's stdout within the block."""
        with os.fdopen(os.dup(self.fd), "w") as stdout, redirect_stdout(stdout):
            yield

    def close_fd(self) -> None:
        """Close the fd of this process; other processes may still have it open."""
        os.close(self.fd)

    def close(self) -> None:
        """Wait until all processes have closed the terminal, and close it."""
        self._reader.join()
        os.close(self._master)

    def _read(self) -> None:
        with suppress(OSError):  # raised by Linux after the last process has closed the terminal
            while data := os.read(self._master, 65536):
                with self._changed:
                    self.shown += self._decoder.decode(data)
                    self._changed.notify_all()


def strip_control_codes(shown: str) -> list[str]:
    """Return the lines that were written to a terminal, without control codes."""
    return _CODES.sub("", shown).split("\n")
