"""What outlives a process that is killed, and what a process does not keep, lest it look like a leak."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from attrs import asdict, frozen


class Entry(Protocol):
    """A frozen attrs class, all of whose attributes JSON can hold."""

    __attrs_attrs__: ClassVar[Any]


E = TypeVar("E", bound=Entry)


class Journal(Generic[E]):
    """A file of entries of one kind; each is with the system when `write` returns."""

    def __init__(self, path: Path, of: type[E]) -> None:
        self._path = path
        self._of = of
        self._file = path.open("ab", buffering=0)

    def write(self, entry: E) -> None:
        """Add an entry."""
        self._file.write(json.dumps(asdict(entry)).encode() + b"\n")

    def __iter__(self) -> Iterator[E]:
        with self._path.open("rb") as lines:
            for line in lines:
                yield self._of(**json.loads(line))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()


@frozen(kw_only=True)
class Retry:
    """A retry that the server has carried out.

    Attributes:
        diff_id: Of which diff.
        at: When, in Unix seconds.
    """

    diff_id: int
    at: float


@frozen(kw_only=True)
class Breakdown:
    """A fault that has befallen a request.

    Attributes:
        kind: Its name.
        path: What was asked for; empty where the server had not read that.
    """

    kind: str
    path: str


def retries_in(directory: Path) -> Journal[Retry]:
    """Open the journal of retries."""
    return Journal(directory / "retries.jsonl", Retry)


def breakdowns_in(directory: Path) -> Journal[Breakdown]:
    """Open the journal of faults."""
    return Journal(directory / "breakdowns.jsonl", Breakdown)
