"""Fixtures of the fault matrix: no backoff between attempts, a trusted authority, and a counter of attempts."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import trustme
from support.faults.certificate_authorities import CertificateAuthorities
from support.faults.harness import MAX_LINE_LENGTH, AttemptCounter

from clanforge_async._http import limiter, retry_policy


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry_policy, "_backoff", lambda _attempts: 0.0)
    monkeypatch.setattr(limiter, "_MAX_BACKOFF", 0.01)


@pytest.fixture(scope="session")
def certificate_authorities() -> CertificateAuthorities:
    return trustme.CA(), trustme.CA()


@pytest.fixture(scope="session")
def trusted(certificate_authorities: CertificateAuthorities) -> Iterator[str]:
    with certificate_authorities[0].cert_pem.tempfile() as file:
        yield file


@pytest.fixture(autouse=True)
def trust(trusted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", trusted)


@pytest.fixture(autouse=True)
def attempts() -> Iterator[AttemptCounter]:
    """Count attempts, and assert that no log line is long."""
    logger, attempts = logging.getLogger("clanforge_async"), AttemptCounter()
    level = logger.level
    logger.addHandler(attempts)
    logger.setLevel(logging.DEBUG)
    yield attempts
    logger.removeHandler(attempts)
    logger.setLevel(level)
    assert attempts.longest_message <= MAX_LINE_LENGTH
