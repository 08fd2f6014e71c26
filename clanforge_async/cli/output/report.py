"""``--report``: a self-contained HTML page that loads no resources and runs no scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from clanforge_async import Job, JobRef, WatchResult
from clanforge_async.cli.formatting import format_counts, format_duration, format_job_count
from clanforge_async.cli.outages import ApiMonitor
from clanforge_async.cli.output.base import Output
from clanforge_async.cli.output.files import write_or_warn
from clanforge_async.cli.output.job_states import JobStates, sort_by_severity
from clanforge_async.cli.output.timeline import (
    Axis,
    outcome_mark,
    render_axis,
    render_bars,
    render_grid,
    render_legend,
)


class ReportOutput(Output):
    """Writes the report at the end of the watch, even if that was interrupted.

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

    def __exit__(self, *_: object) -> None:
        write_or_warn(
            self._path, render_report(list(self._jobs.values()), self._start, datetime.now(UTC)), "the report"
        )

    def snapshot(self, event: str, ref: JobRef, job: Job) -> None:  # noqa: ARG002 - all events count
        """Add a snapshot to the job's states."""
        self._jobs[ref].update(job)

    def result(self, result: WatchResult) -> None:
        """Add the result of a watch."""
        self._jobs[result.ref].result = result


def render_report(jobs: Sequence[JobStates], start: datetime, now: datetime) -> str:
    """Return the HTML of the report.

    Args:
        jobs: All watched jobs.
        start: Start of the watch.
        now: End of the watch.
    """
    ordered = sort_by_severity(jobs)
    axis = Axis.spanning(jobs, start, now)
    template = resources.files("clanforge_async.cli.output").joinpath("report.html").read_text("utf-8")
    counts = Counter(job.outcome for job in ordered)
    return Template(template).substitute(
        title=escape(f"{format_job_count(len(ordered))}: {format_counts(counts.elements())}"),
        jobs=format_job_count(len(ordered)),
        began=_render_time(start),
        ended=_render_time(now),
        took=format_duration((now - start).total_seconds()),
        polls=sum(job.result.polls for job in ordered if job.result is not None),
        counts="".join(
            f'<li class="{name}"><b>{count}</b> {_render_outcome(name)}</li>' for name, count in counts.items()
        ),
        unfinished=_render_unfinished([job for job in ordered if job.result is None]),
        grid=render_grid(axis),
        axis=render_axis(axis),
        legend=render_legend(ordered, now),
        timeline="".join(
            f'<tr><th scope="row">{escape(str(job.ref))}</th><td>{render_bars(job, axis, now)}</td></tr>'
            for job in ordered
        ),
        rows="".join(map(_render_row, ordered)),
    )


def _render_row(job: JobStates) -> str:
    result, started, ended = job.result, job.started, job.ended
    run_time = format_duration((ended - started).total_seconds()) if started and ended else ""
    cells = (
        f'<th scope="row">{escape(str(job.ref))}</th>',
        f'<td class="{job.outcome}">{_render_outcome(job.outcome)}</td>',
        f"<td>{_render_time(started)}</td>",
        f"<td>{_render_time(ended)}</td>",
        f'<td class="number">{run_time}</td>',
        f'<td class="number">{"" if result is None else format_duration(result.elapsed)}</td>',
        f'<td class="number">{"" if result is None else result.polls}</td>',
        f'<td class="reason">{escape(job.reason)}</td>',
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
