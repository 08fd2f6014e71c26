"""Fixtures that run ``clanforge``, in this process or in another, against a simulated API on a socket."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from support.cli.fixtures import servers, simulator, small_ca_file, terminal
from support.cli.harness import Clanforge, Finished, Spawn
from support.cli.releases import images

from clanforge_async.cli import main

__all__ = ["images", "servers", "simulator", "small_ca_file", "terminal"]


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the local time zone to UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def clanforge(capsys: pytest.CaptureFixture[str]) -> Clanforge:
    """Run the command line in this process."""

    def run(*argv: str) -> Finished:
        status = main(argv)
        out, err = capsys.readouterr()
        return Finished(status, out, err)

    return run


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start ``clanforge`` in another process."""
    started: list[subprocess.Popen[str]] = []

    def start(*argv: str, code: str | None = None) -> subprocess.Popen[str]:
        program = ["-m", "clanforge_async"] if code is None else ["-c", code]
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, *program, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
