"""The loopback server in a process of its own, so that a measured process holds the client and nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bench import loopback_server


@contextmanager
def serving() -> Iterator[str]:
    """Run the server for as long as this lasts, and give its address."""
    command = [sys.executable, "-P", loopback_server.__file__]
    # Leaving closes its standard input, upon which it ends, and waits for that.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603 - it is ours
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"


def jobs(count: int, polls: int) -> list[int]:
    """Return the ids of so many image versions, each of which completes when it is polled for so many times."""
    return [polls * loopback_server.POLLS + number for number in range(1, count + 1)]
