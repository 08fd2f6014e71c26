"""A hook for all tests."""

from __future__ import annotations

import gc


def pytest_collection_finish() -> None:
    """Exempt the collected tests, 400,000 objects, from garbage collection, which would visit them again and again."""
    gc.collect()
    gc.freeze()
