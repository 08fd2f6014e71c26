"""The watches as they are kept on disk: a reference is all that it takes to resume one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from attrs import astuple

from .board import Row

KEPT = 500
"""How many watches that have ended are remembered."""

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL; -- a write waits for no disk; a crash of this service loses nothing
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
        """Return all rows, those that were saved last at the end."""
        return [Row(*columns) for columns in self._database.execute("SELECT * FROM watches ORDER BY rowid")]

    def save(self, row: Row) -> None:
        """Keep a row in place of the one before."""
        self._database.execute(_SAVE, astuple(row))

    def forget(self) -> list[str]:
        """Drop all but the latest of the watches that have ended, and return their references."""
        return [ref for (ref,) in self._database.execute(_FORGET, (KEPT,))]

    def close(self) -> None:
        """Close the file."""
        self._database.close()
