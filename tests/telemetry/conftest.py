"""Every test of telemetry has an SDK of its own."""

from __future__ import annotations

import pytest
from telemetry.collected import Collected


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Collected:
    return Collected(monkeypatch)
