"""Pseudo-terminals: real ones, but for the person in front."""

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

IN_A_SESSION_OF_ITS_OWN = """
import fcntl, sys, termios
from clanforge_async.cli import main
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
sys.exit(main(sys.argv[1:]))
"""
_CODES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\r")


class Terminal:
    """A pseudo-terminal, of 80 columns and 24 lines at first, and all that was ever sent to it."""

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
        """Start a program that has this terminal for itself, and leave it to that."""
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-c", code, *argv],
            stdin=self.fd,
            stdout=self.fd,
            stderr=self.fd,
            start_new_session=True,
            env=dict(os.environ),  # as Python knows it: beneath, readline may have noted the size of another terminal
        )
        self.let_go()
        return process

    @contextmanager
    def as_stdout(self) -> Iterator[None]:
        """Make it this process's stdout within the block."""
        with os.fdopen(os.dup(self.fd), "w") as stdout, redirect_stdout(stdout):
            yield

    def let_go(self) -> None:
        """Leave it to others."""
        os.close(self.fd)

    def close(self) -> None:
        """To be called once nobody holds the other end any more."""
        self._reader.join()
        os.close(self._master)

    def _read(self) -> None:
        with suppress(OSError):  # how Linux says that nobody holds the other end
            while data := os.read(self._master, 65536):
                with self._changed:
                    self.shown += self._decoder.decode(data)
                    self._changed.notify_all()


def plain(shown: str) -> list[str]:
    """Return the lines that were sent to a terminal, without what moved its cursor or set its colours."""
    return _CODES.sub("", shown).split("\n")
