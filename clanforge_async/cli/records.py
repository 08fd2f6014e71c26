"""JSON for programs: one object a line."""

from __future__ import annotations

import json
from typing import Any, Self

from clanforge_async import Job, JobRef, WatchResult
from clanforge_async.cli.outcomes import outcome
from clanforge_async.cli.text import instant, write


class Records:
    """A presenter that writes each event as an object of its own.

    Args:
        quiet: Whether to write nothing but results.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held back."""

    def snapshot(self, event: str, ref: JobRef, job: Job) -> None:
        """Write what is known of a job."""
        if not self._quiet:
            _write({"event": event, **_identity(ref), **_facts(job), "error": job.error})

    def result(self, result: WatchResult) -> None:
        """Write how a watch ended, with the last that was seen of the job."""
        error = result.error
        _write(
            {
                "event": "result",
                **_identity(result.ref),
                "outcome": outcome(error),
                "error": None if error is None else str(error),
                "error_type": None if error is None else type(error).__name__,
                "polls": result.polls,
                "elapsed": round(result.elapsed, 3),
                **({} if result.job is None else _facts(result.job)),
            }
        )


def _identity(ref: JobRef) -> dict[str, Any]:
    return {"ref": str(ref), "kind": ref.kind.value, "id": ref.id}


def _facts(job: Job) -> dict[str, Any]:
    return {
        "state": None if job.state is None else job.state.name.lower(),
        "state_name": job.state_name,
        "progress": job.progress,
        "eta": None if job.eta is None else instant(job.eta),
        "created_at": instant(job.created_at),
        "started_at": None if job.started_at is None else instant(job.started_at),
        "updated_at": instant(job.updated_at),
        "failure_count": job.failure_count,
    }


def _write(record: dict[str, Any]) -> None:
    # JSON's own escapes for everything beyond ASCII: exact for a program, and harmless to a terminal.
    write(json.dumps(record, ensure_ascii=True))
