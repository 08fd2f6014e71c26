"""Records of a run, in files: they survive a killed process, and don't grow the memory of a live one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from attrs import asdict, frozen

from clanforge_async import APIError, Job, WatchResult


class Record(Protocol):
    """A frozen attrs class whose attributes can all be written as JSON."""

    __attrs_attrs__: ClassVar[Any]


R = TypeVar("R", bound=Record)


class RecordFile(Generic[R]):
    """A JSON Lines file of records of one class. `write` is unbuffered, so a record survives a kill."""

    def __init__(self, path: Path, record_class: type[R]) -> None:
        self._path = path
        self._record_class = record_class
        self._file = path.open("ab", buffering=0)

    def write(self, record: R) -> None:
        """Append a record."""
        self._file.write(json.dumps(asdict(record)).encode() + b"\n")

    def __iter__(self) -> Iterator[R]:
        with self._path.open("rb") as lines:
            for line in lines:
                yield self._record_class(**json.loads(line))

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
class RetryRecord:
    """A retry executed by the server.

    Attributes:
        diff_id: The retried image diff.
        at: Unix time in seconds.
    """

    diff_id: int
    at: float


@frozen(kw_only=True)
class FaultRecord:
    """A fault injected into a request.

    Attributes:
        kind: Name of the fault kind.
        path: Path of the request; empty if the server failed before reading it.
    """

    kind: str
    path: str


@frozen(kw_only=True)
class WatchRecord:
    """The end of one watch, as the client saw it.

    Attributes:
        ref: Reference of the job, as text.
        started_at: Unix time of the start, in seconds.
        ended_at: Unix time of the end, in seconds.
        state: State of the last snapshot; None without a snapshot, or in a state unknown to the package.
        updated_at: Unix time at which the server last updated that snapshot.
        error: Class name of the error; empty if the job completed.
        status: HTTP status of the error, if it has one.
        polls: Number of polls.
        terminal_updates: Number of terminal snapshots passed to `on_update`.
        got_final_update: Whether the last snapshot passed to `on_update` is the one in the result.
        retries_requested: Number of retries requested before the watch started.
    """

    ref: str
    started_at: float
    ended_at: float
    state: int | None
    updated_at: float | None
    error: str
    status: int | None
    polls: int
    terminal_updates: int
    got_final_update: bool
    retries_requested: int

    @property
    def has_job_ended(self) -> bool:
        """Whether the watch ended because its job did."""
        return self.error in ("", "JobFailedError", "JobSquashedError")


def watch_record(result: WatchResult, updates: list[Job], retries_requested: int, now: float) -> WatchRecord:
    """Make the record of a watch's result."""
    job, error = result.job, result.error
    return WatchRecord(
        ref=str(result.ref),
        started_at=now - result.elapsed,
        ended_at=now,
        state=None if job is None else job.state,
        updated_at=None if job is None else job.updated_at.timestamp(),
        error="" if error is None else type(error).__name__,
        status=error.status_code if isinstance(error, APIError) else None,
        polls=result.polls,
        terminal_updates=sum(update.is_terminal for update in updates),
        got_final_update=updates[-1:] == [job],
        retries_requested=retries_requested,
    )


def open_retry_records(directory: Path) -> RecordFile[RetryRecord]:
    """Open the server's file of retries."""
    return RecordFile(directory / "retries.jsonl", RetryRecord)


def open_fault_records(directory: Path) -> RecordFile[FaultRecord]:
    """Open the server's file of faults."""
    return RecordFile(directory / "faults.jsonl", FaultRecord)
