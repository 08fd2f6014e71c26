"""Fixtures of the telemetry tests."""

from __future__ import annotations

import pytest
from support.telemetry.collected import Collected


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Collected:
    return Collected(monkeypatch)
