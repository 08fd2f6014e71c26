"""``--report``: a self-contained HTML page that loads no resources and runs no scripts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from clanforge_async import Job, JobRef, WatchResult
from clanforge_async.cli.formatting import format_count, format_counts, format_duration, format_job_count
from clanforge_async.cli.outages import ApiMonitor
from clanforge_async.cli.output.base import Output
from clanforge_async.cli.output.files import write_or_warn
from clanforge_async.cli.output.job_states import JobStates, sort_by_severity
from clanforge_async.cli.output.plain import format_outage, format_silence
from clanforge_async.cli.output.timeline import (
    Axis,
    outcome_mark,
    render_axis,
    render_bars,
    render_grid,
    render_legend,
)

_REFRESH = 5.0
"""Seconds between two versions of the report while jobs are watched, and between the page's reloads."""


class ReportOutput(Output):
    """Writes the report every five seconds, and at the end of the watch, even if that was interrupted.

    Args:
        refs: Jobs that will be watched.
        path: File to write.
        api: The API.
    """

    def __init__(self, refs: Sequence[JobRef], path: Path, api: ApiMonitor | None = None) -> None:
        self._api = api
        self._jobs = {ref: JobStates(ref) for ref in refs}
        self._path = path
        self._start = datetime.now(UTC)
        self._next_write = 0.0

    def __exit__(self, *_: object) -> None:
        self._write(is_final=True)

    def tick(self) -> None:
        """Write the present state, at most every five seconds."""
        if time.monotonic() >= self._next_write:
            self._write(is_final=False)
            self._next_write = time.monotonic() + _REFRESH

    def _write(self, *, is_final: bool) -> None:
        now = datetime.now(UTC)
        warning = ""
        if self._api is not None and not is_final:
            outage = self._api.outage
            warning = format_silence(self._api) if outage is None else format_outage(outage)
        html = render_report(
            list(self._jobs.values()), self._start, now, api=self._api, warning=warning, is_final=is_final
        )
        write_or_warn(self._path, html, "the report")

    def snapshot(self, event: str, ref: JobRef, job: Job) -> None:  # noqa: ARG002 - all events count
        """Add a snapshot to the job's states."""
        self._jobs[ref].update(job)

    def result(self, result: WatchResult) -> None:
        """Add the result of a watch."""
        self._jobs[result.ref].result = result


def render_report(
    jobs: Sequence[JobStates],
    start: datetime,
    now: datetime,
    *,
    api: ApiMonitor | None = None,
    warning: str = "",
    is_final: bool = True,
) -> str:
    """Return the HTML of the report.

    Args:
        jobs: All watched jobs.
        start: Start of the watch.
        now: End of the watch, or the present time.
        api: The API.
        warning: What is wrong with the API at present; empty: nothing.
        is_final: Whether the watch has ended. Before, the page reloads itself.
    """
    ordered = sort_by_severity(jobs)
    axis = Axis.spanning(jobs, start, now)
    template = resources.files("clanforge_async.cli.output").joinpath("report.html").read_text("utf-8")
    counts = Counter(job.outcome for job in ordered)
    return Template(template).substitute(
        title=escape(f"{format_job_count(len(ordered))}: {format_counts(counts.elements())}"),
        jobs=format_job_count(len(ordered)),
        api=_render_api(api),
        status="watched from" if is_final else "being watched, since",
        until=f" to {_render_time(now)}" if is_final else f", shown as of {_render_time(now)}",
        reload="" if is_final else f'<meta http-equiv="refresh" content="{_REFRESH:.0f}">',
        warning=f'<p class="warning">{escape(warning)}</p>' if warning else "",
        began=_render_time(start),
        took=format_duration((now - start).total_seconds()),
        polls=format_count(_count_polls(ordered, api), "poll"),
        counts="".join(
            f'<li class="{name}"><b>{count}</b> {_render_outcome(name)}</li>' for name, count in counts.items()
        ),
        unfinished=_render_unfinished([job for job in ordered if job.result is None]) if is_final else "",
        grid=render_grid(axis),
        axis=render_axis(axis),
        legend=render_legend(ordered, now),
        timeline="".join(
            f'<tr><th scope="row">{escape(str(job.ref))}{_render_reason(job)}</th>'
            f"<td>{render_bars(job, axis, now)}</td></tr>"
            for job in ordered
        ),
        rows="".join(map(_render_row, ordered)),
    )


def _render_api(api: ApiMonitor | None) -> str:
    if api is None:
        return ""
    account = "" if api.account_service_id is None else f", account service ID {api.account_service_id}"
    return f" on {escape(api.host)}{account}"


def _count_polls(jobs: Sequence[JobStates], api: ApiMonitor | None) -> int:
    return sum(job.result.polls for job in jobs if job.result is not None) if api is None else api.requests


def _render_reason(job: JobStates) -> str:
    return f'<small class="{job.outcome}">{escape(job.reason)}</small>' if job.reason else ""


def _render_row(job: JobStates) -> str:
    result, started, ended = job.result, job.started, job.ended
    run_time = format_duration((ended - started).total_seconds()) if started and ended else ""
    cells = (
        f'<th scope="row">{escape(str(job.ref))}</th>',
        f'<td class="{job.outcome}" data-label="Outcome">{_render_outcome(job.outcome)}</td>',
        f'<td class="reason" data-label="Error">{escape(job.reason)}</td>',
        f'<td data-label="Started">{_render_time(started)}</td>',
        f'<td data-label="Ended">{_render_time(ended)}</td>',
        f'<td class="number" data-label="Ran for">{run_time}</td>',
        f'<td class="number" data-label="Watched for">{"" if result is None else format_duration(result.elapsed)}</td>',
        f'<td class="number" data-label="Polls">{"" if result is None else result.polls}</td>',
    )
    return f"<tr>{''.join(cells)}</tr>\n"


def _render_outcome(name: str) -> str:
    return f'<span aria-hidden="true">{outcome_mark(name)}</span> {name}'


def _render_time(moment: datetime | None) -> str:
    if moment is None:
        return ""
    utc = moment.astimezone(UTC)
    return f'<time datetime="{utc:%Y-%m-%dT%H:%M:%SZ}">{utc:%Y-%m-%d %H:%M:%S}</time>'


def _render_unfinished(jobs: Sequence[JobStates]) -> str:
    if not jobs:
        return ""
    refs = escape(" ".join(str(job.ref) for job in jobs))
    message = f"{format_job_count(len(jobs))} had not finished when watching stopped."
    return f'<div class="note"><p>{message} Resume with:</p><pre>clanforge watch {refs}</pre></div>'
