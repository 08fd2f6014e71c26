"""Fixtures for tests of the command line: a simulated API on a socket, and a terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest
from support.cli.harness import Servers
from support.cli.terminal import Terminal

from clanforge_async.simulator import DEMO_ACCOUNT, Simulator


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with Servers() as servers:
        yield servers


@pytest.fixture(scope="session")
def small_ca_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A CA file with one certificate: loading all that httpx trusts takes longer than a test."""
    end = "-----END CERTIFICATE-----\n"
    first = Path(certifi.where()).read_text("utf-8").partition(end)[0] + end
    file = tmp_path_factory.mktemp("authorities") / "one.pem"
    file.write_text(first, "utf-8")
    return str(file)


@pytest.fixture
def simulator(servers: Servers, small_ca_file: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A simulator that the environment variables point to."""
    for name in [name for name in os.environ if name.startswith("CLANFORGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", small_ca_file)
    simulator = Simulator()
    with servers.serving(simulator) as base_url:
        monkeypatch.setenv("CLANFORGE_BASE_URL", base_url)
        monkeypatch.setenv("CLANFORGE_ACCESS_KEY", str(DEMO_ACCOUNT.access_key))
        monkeypatch.setenv("CLANFORGE_SECRET_KEY", str(DEMO_ACCOUNT.secret_key))
        monkeypatch.setenv("CLANFORGE_ACCOUNT_SERVICE_ID", str(DEMO_ACCOUNT.account_service_id))
        yield simulator


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """A terminal for commands in this process, which read its width from COLUMNS."""
    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", "80")
    yield terminal
    terminal.close_fd()
    terminal.close()
