"""Builds: the files that an image update pulls, by source and description."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

Files: TypeAlias = Mapping[str, Any]
"""Files by path. The content of two files is the same if their values are equal."""

_SCHEMES = ("s3", "steam", "gs", "cos")
_SECRET_OPTIONS = frozenset(("betapassword", "guardcode", "credentials"))
_UNCHANGED = ("bin/server.so", "maps/harbour.pak", "maps/quarry.pak")
_CHANGED = ("bin/server", "version.txt")


def is_source(url: str) -> bool:
    """Whether a URL is one of the known kinds of source, with its user and secret percent-encoded."""
    parts = _split(url)
    unencoded = parts.scheme in ("s3", "steam") and "@" in parts.path and "@" not in parts.netloc
    return parts.scheme in _SCHEMES and bool(parts.netloc) and not unencoded


def without_secrets(url: str) -> str:
    """Return a source URL without its user, its password and its secret options."""
    parts = _split(url)
    options = [(name, value) for name, value in parse_qsl(parts.query) if name.lower() not in _SECRET_OPTIONS]
    query = f"?{urlencode(sorted(options))}" if options else ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}{query}"


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # an IPv6 address without its closing bracket
        return SplitResult("", "", url, "", "")


class Builds(MutableMapping[tuple[str, str], Files]):
    """The files of each build, by its source and description.

    The secrets of a source, a trailing slash and the order of its options are ignored. A build that was not added is
    drawn from the simulator's seed, so the same source and description always give the same files.
    """

    def __init__(self, seed: object) -> None:
        self._seed = seed
        self._builds: dict[tuple[str, str], Files] = {}

    def __getitem__(self, key: tuple[str, str]) -> Files:
        source, description = _normalize(key)
        known = self._builds.get((source, description))
        return self._random(source, description) if known is None else known

    def __setitem__(self, key: tuple[str, str], files: Files) -> None:
        self._builds[_normalize(key)] = dict(files)

    def __delitem__(self, key: tuple[str, str]) -> None:
        del self._builds[_normalize(key)]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._builds)

    def __len__(self) -> int:
        return len(self._builds)

    def _random(self, source: str, description: str) -> Files:
        seed = f"{self._seed}/build/{source}"
        return random_files(_UNCHANGED, seed) | random_files(_CHANGED, f"{seed}/{description}")


def _normalize(key: tuple[str, str]) -> tuple[str, str]:
    source, description = key
    return without_secrets(source), description


def random_files(paths: tuple[str, ...], seed: str) -> dict[str, Any]:
    """Return files with sizes and hashes drawn from a seed."""
    rng = random.Random(seed)  # noqa: S311 - repeatable by design
    return {path: {"size": rng.randrange(1, 2**31), "hash": f"{rng.getrandbits(64):016x}"} for path in paths}
