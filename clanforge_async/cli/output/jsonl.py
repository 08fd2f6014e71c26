"""``--json``: one JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from clanforge_async import Job, JobRef, WatchResult
from clanforge_async.cli.errors import outcome
from clanforge_async.cli.formatting import format_datetime, print_line
from clanforge_async.cli.outages import Outage, Recovery
from clanforge_async.cli.output.base import Output
from clanforge_async.cli.output.plain import StderrOutages, advise


class JsonLinesOutput(Output):
    """Prints each event as a JSON object.

    Args:
        quiet: Print only results; outages go to stderr.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet

    def snapshot(self, event: str, ref: JobRef, job: Job) -> None:
        """Print a snapshot of a job."""
        if not self._quiet:
            print_json({"event": event, **_ref_fields(ref), **_job_fields(job), "error": job.error})

    def result(self, result: WatchResult) -> None:
        """Print the result of a watch, with the last snapshot of the job."""
        error = result.error
        last_error = getattr(error, "last_error", None)
        print_json(
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

    def read_error(self, ref: JobRef, error: Exception | None) -> None:
        """Print that the status of a job could not be read."""
        print_json({"event": "error", **_ref_fields(ref), "error": str(error), "error_type": type(error).__name__})

    def outage(self, outage: Outage) -> None:
        """Print an outage."""
        if self._quiet:
            StderrOutages().outage(outage)
            return
        until = outage.gives_up_at
        print_json(
            {
                "event": "outage",
                "host": outage.host,
                "error": str(outage.error),
                "error_type": type(outage.error).__name__,
                "since": format_datetime(outage.since),
                "gives_up_at": None if until is None else format_datetime(until),
                "hint": advise(outage) or None,
            }
        )

    def recovery(self, recovery: Recovery) -> None:
        """Print the end of an outage."""
        if self._quiet:
            StderrOutages().recovery(recovery)
            return
        since = format_datetime(recovery.outage.since)
        elapsed = round(recovery.seconds, 3)
        print_json({"event": "recovered", "host": recovery.outage.host, "since": since, "elapsed": elapsed})


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


def print_json(record: Mapping[str, Any]) -> None:
    """Print a JSON object on one line, in ASCII: escapes keep control characters out of terminals."""
    print_line(json.dumps(record, ensure_ascii=True))
