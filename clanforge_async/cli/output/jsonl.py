"""``--json``: one JSON object a line."""

from __future__ import annotations

import json
from typing import Any, Self

from clanforge_async import Job, JobRef, WatchResult
from clanforge_async.cli.errors import outcome
from clanforge_async.cli.formatting import format_datetime, print_line


class JsonLinesOutput:
    """Prints each event as a JSON object.

    Args:
        quiet: Print only results.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: each object is printed at once."""

    def snapshot(self, event: str, ref: JobRef, job: Job) -> None:
        """Print a snapshot of a job."""
        if not self._quiet:
            _print_json({"event": event, **_ref_fields(ref), **_job_fields(job), "error": job.error})

    def result(self, result: WatchResult) -> None:
        """Print the result of a watch, with the last snapshot of the job."""
        error = result.error
        last_error = getattr(error, "last_error", None)
        _print_json(
            {
                "event": "result",
                **_ref_fields(result.ref),
                "outcome": outcome(error),
                "error": None if error is None else str(error),
                "error_type": None if error is None else type(error).__name__,
                "last_error": None if last_error is None else str(last_error),
                "polls": result.polls,
                "elapsed": round(result.elapsed, 3),
                **({} if result.job is None else _job_fields(result.job)),
            }
        )


def _ref_fields(ref: JobRef) -> dict[str, Any]:
    return {"ref": str(ref), "kind": ref.kind.value, "id": ref.id}


def _job_fields(job: Job) -> dict[str, Any]:
    return {
        "state": None if job.state is None else job.state.name.lower(),
        "state_name": job.state_name,
        "progress": job.progress,
        "eta": None if job.eta is None else format_datetime(job.eta),
        "created_at": format_datetime(job.created_at),
        "started_at": None if job.started_at is None else format_datetime(job.started_at),
        "updated_at": format_datetime(job.updated_at),
        "failure_count": job.failure_count,
    }


def _print_json(record: dict[str, Any]) -> None:
    # ASCII only: JSON's escapes keep the exact text for programs, and control characters out of terminals.
    print_line(json.dumps(record, ensure_ascii=True))
