"""The journal of releases: stores their tokens, so that another process can resume them.

A journal is a function that the caller passes, or one or more files. A file is readable JSON: for each release, the
token and the release's options without secrets. It is replaced atomically, so readers never see half of it.
"""

from __future__ import annotations

import inspect
import json
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

from attrs import asdict, frozen

from clanforge_async.errors import ConfigurationError
from clanforge_async.images import StragglerPolicy
from clanforge_async.releases.release import ImageRelease, mask_source
from clanforge_async.releases.token import ReleaseToken

Journal: TypeAlias = Callable[[ReleaseToken], Awaitable[object] | object] | str | os.PathLike[str]


@frozen(kw_only=True)
class JournalEntry:
    """A release in a journal's file.

    Attributes:
        token: The token.
        options: The release's options as arguments of `ImageRelease`; the source without its secrets.
    """

    token: ReleaseToken
    options: Mapping[str, Any]


class Writer(Protocol):
    """Stores the tokens of releases."""

    async def begin(self, token: ReleaseToken, release: ImageRelease) -> None:
        """Record a release that has not started yet."""

    async def save(self, token: ReleaseToken, release: ImageRelease | None) -> None:
        """Store a token.

        Args:
            token: The token.
            release: The release; None if only its token is known.
        """


def make_writer(journal: Journal | None) -> Writer:
    """Return the writer for a journal.

    Raises:
        ConfigurationError: The journal is neither callable nor a path.
    """
    if journal is None:
        return _NoJournal()
    if isinstance(journal, str | os.PathLike):
        return FileJournal(os.fspath(journal))
    if callable(journal):
        return _Callback(journal)
    msg = f"journal must be callable or a path, not {type(journal).__name__}"
    raise ConfigurationError(msg)


class _NoJournal:
    async def begin(self, token: ReleaseToken, release: ImageRelease) -> None:
        """Do nothing."""

    async def save(self, token: ReleaseToken, release: ImageRelease | None) -> None:
        """Do nothing."""


class _Callback:
    def __init__(self, callback: Callable[[ReleaseToken], Awaitable[object] | object]) -> None:
        self._callback = callback

    async def begin(self, token: ReleaseToken, release: ImageRelease) -> None:
        """Do nothing: the release has had no effect yet that another process must know about."""

    async def save(self, token: ReleaseToken, release: ImageRelease | None) -> None:  # noqa: ARG002 - the interface
        returned = self._callback(token)
        if inspect.isawaitable(returned):
            await returned


class FileJournal:
    """Stores tokens in a file, or in a folder with a file for each image.

    Args:
        path: Path of the file or the folder. It is a folder if one exists there or if the path ends with a separator.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._is_folder = self._path.is_dir() or path.endswith(("/", os.sep))

    async def begin(self, token: ReleaseToken, release: ImageRelease) -> None:
        """Record a release, so that all releases of one ``run_all`` can be resumed together.

        The entry of an earlier release of the image is kept if that release can be resumed.
        """
        path = self._path_of(token)
        entry = read_entries(path).get(token.image_id) if path.exists() else None
        if entry is None or not entry.token.is_under_way:
            await self.save(token, release)

    async def save(self, token: ReleaseToken, release: ImageRelease | None) -> None:
        """Replace the entry of the token's image.

        Raises:
            OSError: The file cannot be written.
            ValueError: The file is not a journal.
        """
        path = self._path_of(token)
        entries = read_entries(path) if path.exists() else {}
        known = entries.get(token.image_id)
        options = _to_options(release) if release is not None else {} if known is None else known.options
        entries[token.image_id] = JournalEntry(token=token, options=options)
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, _to_text(entries))

    def _path_of(self, token: ReleaseToken) -> Path:
        return self._path / f"image-{token.image_id}.json" if self._is_folder else self._path


def read_journal(path: str | os.PathLike[str]) -> list[JournalEntry]:
    """Read the releases of a journal's file, or of all files of a folder.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file is not a journal.
    """
    path = Path(path)
    paths = sorted(path.glob("image-*.json")) if path.is_dir() else [path]
    return [entry for each in paths for entry in read_entries(each).values()]


def read_entries(path: Path) -> dict[int, JournalEntry]:
    """Read the releases of a journal's file, by image.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is not a journal.
    """
    try:
        releases = json.loads(path.read_text("utf-8"))["releases"]
        entries = [_to_entry(each) for each in releases]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        msg = f"{path} is not a journal of releases: {error}"
        raise ValueError(msg) from None
    return {entry.token.image_id: entry for entry in entries}


def _to_entry(plain: dict[str, Any]) -> JournalEntry:
    options = dict(plain["options"])
    if isinstance(options.get("straggler_policy"), dict):
        options["straggler_policy"] = StragglerPolicy(**options["straggler_policy"])
    if options.get("install_at") not in ("now", None):
        options["install_at"] = datetime.fromisoformat(options["install_at"])
    return JournalEntry(token=ReleaseToken.parse(plain["token"]), options=options)


def _to_options(release: ImageRelease) -> dict[str, Any]:
    return asdict(release, recurse=False) | {"source": mask_source(release.source)}


def _to_text(entries: Mapping[int, JournalEntry]) -> str:
    releases = [{"token": str(entry.token), "options": dict(entry.options)} for _, entry in sorted(entries.items())]
    document = {"written": datetime.now(UTC).replace(microsecond=0), "releases": releases}
    return json.dumps(document, indent=2, default=_to_plain) + "\n"


def _to_plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else asdict(cast("StragglerPolicy", value))


def _replace(path: Path, text: str) -> None:
    """Replace a file atomically: a reader sees the old or the new content, even if this process is killed."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with new.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # The rename is on disk only once the folder is synchronized. Windows cannot open folders and does not need it.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
