"""Faults pass in milliseconds here: what a call waits between its attempts is no claim of these tests."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import trustme
from support.faults.authorities import Authorities
from support.faults.harness import LONGEST_LINE, Attempts

from clanforge_async._http import limiter, retry_policy


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry_policy, "_backoff", lambda _attempts: 0.0)
    monkeypatch.setattr(limiter, "_MAX_BACKOFF", 0.01)


@pytest.fixture(scope="session")
def authorities() -> Authorities:
    return trustme.CA(), trustme.CA()


@pytest.fixture(scope="session")
def trusted(authorities: Authorities) -> Iterator[str]:
    with authorities[0].cert_pem.tempfile() as file:
        yield file


@pytest.fixture(autouse=True)
def trust(trusted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", trusted)


@pytest.fixture(autouse=True)
def attempts() -> Iterator[Attempts]:
    """Count attempts, and hold that whatever a server sends makes no long line in a log."""
    logger, attempts = logging.getLogger("clanforge_async"), Attempts()
    level = logger.level
    logger.addHandler(attempts)
    logger.setLevel(logging.DEBUG)
    yield attempts
    logger.removeHandler(attempts)
    logger.setLevel(level)
    assert attempts.longest <= LONGEST_LINE
