"""A hook for all tests."""

from __future__ import annotations

import gc


def pytest_collection_finish() -> None:
    """Exempt the collected tests, a million objects, from all later garbage collections: each would visit them."""
    gc.collect()
    gc.freeze()
