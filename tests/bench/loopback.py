"""The loopback server as a separate process, so that only the client is measured."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bench import loopback_server


@contextmanager
def run_server() -> Iterator[str]:
    """Run the server, and yield its URL."""
    command = [sys.executable, "-P", loopback_server.__file__]
    # The end of this block closes the server's standard input, so that the server stops, and waits for its end.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603 - a constant command
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"


def image_version_ids(count: int, polls: int) -> list[int]:
    """Return ids of image versions that complete at their n-th poll."""
    return [polls * loopback_server.POLLS_FACTOR + number for number in range(1, count + 1)]
