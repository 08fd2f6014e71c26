"""Watches on disk: a reference is enough to resume one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from attrs import astuple

from .board import Row

KEPT = 500
"""Number of ended watches to keep."""

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL; -- no fsync for each write; a crash of this service loses nothing
CREATE TABLE IF NOT EXISTS watches (
    ref TEXT PRIMARY KEY, state TEXT NOT NULL, progress INTEGER NOT NULL, eta TEXT, outcome TEXT
);
"""
_SAVE = "INSERT OR REPLACE INTO watches VALUES (?, ?, ?, ?, ?)"
_FORGET = """
DELETE FROM watches WHERE ref IN (
    SELECT ref FROM watches WHERE outcome IS NOT NULL ORDER BY rowid DESC LIMIT -1 OFFSET ?
) RETURNING ref
"""


class Store:
    """Rows in a database file."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.executescript(_SCHEMA)

    def rows(self) -> list[Row]:
        """Return all rows, the latest saved last."""
        return [Row(*columns) for columns in self._database.execute("SELECT * FROM watches ORDER BY rowid")]

    def save(self, row: Row) -> None:
        """Add a row, or replace the one with the same reference."""
        self._database.execute(_SAVE, astuple(row))

    def forget(self) -> list[str]:
        """Delete all but the latest ended watches; return the deleted references."""
        return [ref for (ref,) in self._database.execute(_FORGET, (KEPT,))]

    def close(self) -> None:
        """Close the file."""
        self._database.close()
