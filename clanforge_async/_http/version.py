"""Version of the installed package."""

from __future__ import annotations

from importlib import metadata

try:
    __version__: str = metadata.version("clanforge-async")
except metadata.PackageNotFoundError:  # a vendored copy or a bundle without metadata
    __version__ = "0+unknown"
