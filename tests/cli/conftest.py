"""A simulated API on a real socket, and ``clanforge`` in this process or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest
from cli.harness import Clanforge, Finished, Servers, Spawn

from clanforge_async.cli import main
from clanforge_async.simulator import DEMO_ACCOUNT, Simulator


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with Servers() as servers:
        yield servers


@pytest.fixture(scope="session")
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with a single certificate: to read all that httpx trusts takes longer than a test's whole run."""
    end = "-----END CERTIFICATE-----\n"
    first = Path(certifi.where()).read_text("utf-8").partition(end)[0] + end
    file = tmp_path_factory.mktemp("authorities") / "one.pem"
    file.write_text(first, "utf-8")
    return str(file)


@pytest.fixture
def simulator(servers: Servers, one_authority: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A simulator that the environment's variables lead to."""
    for name in [name for name in os.environ if name.startswith("CLANFORGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SSL_CERT_FILE", one_authority)
    simulator = Simulator()
    with servers.serving(simulator) as base_url:
        monkeypatch.setenv("CLANFORGE_BASE_URL", base_url)
        monkeypatch.setenv("CLANFORGE_ACCESS_KEY", str(DEMO_ACCOUNT.access_key))
        monkeypatch.setenv("CLANFORGE_SECRET_KEY", str(DEMO_ACCOUNT.secret_key))
        monkeypatch.setenv("CLANFORGE_ACCOUNT_SERVICE_ID", str(DEMO_ACCOUNT.account_service_id))
        yield simulator


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have local times be those of UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def clanforge(capsys: pytest.CaptureFixture[str]) -> Clanforge:
    """Run the entry point in this process."""

    def run(*argv: str) -> Finished:
        status = main(argv)
        out, err = capsys.readouterr()
        return Finished(status, out, err)

    return run


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start ``clanforge`` as a process of its own."""
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
