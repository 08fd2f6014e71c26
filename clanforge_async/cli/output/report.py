"""``--report``: a self-contained HTML page that loads no resources and runs no scripts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from attrs import frozen

from clanforge_async import Job, JobRef, WatchResult
from clanforge_async.cli.formatting import format_count, format_counts, format_duration
from clanforge_async.cli.outages import ApiMonitor, Outage, Recovery
from clanforge_async.cli.output.base import Output
from clanforge_async.cli.output.files import write_or_warn
from clanforge_async.cli.output.job_states import JobStates
from clanforge_async.cli.output.plain import format_outage, format_silence
from clanforge_async.cli.output.report_row import ReportRow, sort_by_severity
from clanforge_async.cli.output.timeline import (
    Axis,
    outcome_mark,
    render_axis,
    render_bars,
    render_grid,
    render_legend,
)

_REFRESH = 5.0
"""Seconds between two versions of the report while the command runs, and between the page's reloads."""


@frozen(kw_only=True)
class Column:
    """A column of the report of jobs, or of the report of releases.

    Attributes:
        heading: The heading.
        css_class: CSS class of the cells.
        cell: Returns the HTML of a row's cell.
    """

    heading: str
    css_class: str
    cell: Callable[[Any], str]


@frozen(kw_only=True)
class ReportLayout:
    """The differences between the reports of watches and of releases.

    Attributes:
        noun: Name of a row.
        action: Verb for a row, as a participle.
        counted: Name of a request.
        note: Note about the clock of the times.
        unfinished: Text about the rows that have not finished.
        command: Command that resumes those rows.
        columns: Further columns of the results.
    """

    noun: str
    action: str
    counted: str
    note: str
    unfinished: str
    command: str
    columns: Sequence[Column]


JOB_LAYOUT = ReportLayout(
    noun="job",
    action="watched",
    counted="poll",
    note="Times of jobs are by the server's clock.",
    unfinished="had not finished when watching stopped",
    command="clanforge watch",
    columns=(
        Column(heading="Watched for", css_class="number", cell=lambda job: _render_elapsed(job.result)),
        Column(heading="Polls", css_class="number", cell=lambda job: "" if job.result is None else job.result.polls),
    ),
)


class ReportOutput(Output):
    """Writes the report every five seconds, and at the end, even if the command was interrupted.

    Args:
        rows: The rows of the report. Subclasses update them.
        layout: The differences between the reports of jobs and of releases.
        path: File to write.
        api: The API.
    """

    def __init__(
        self, rows: Sequence[ReportRow], layout: ReportLayout, path: Path, api: ApiMonitor | None = None
    ) -> None:
        self._rows = rows
        self._layout = layout
        self._api = api
        self._path = path
        self._start = datetime.now(UTC)
        self._next_write = 0.0

    def __exit__(self, *_: object) -> None:
        self._write(is_final=True)

    def outage(self, outage: Outage) -> None:  # noqa: ARG002 - `ApiMonitor` stores it
        """Show an outage with the next tick."""
        self._next_write = 0.0

    def recovery(self, recovery: Recovery) -> None:  # noqa: ARG002 - as above
        """Remove an ended outage with the next tick."""
        self._next_write = 0.0

    def tick(self) -> None:
        """Write the current state, at most every five seconds."""
        if time.monotonic() >= self._next_write:
            self._write(is_final=False)
            self._next_write = time.monotonic() + _REFRESH

    def _write(self, *, is_final: bool) -> None:
        now = datetime.now(UTC)
        warning = "" if self._api is None else _describe_problem(self._api, now, is_final=is_final)
        html = render_report(
            self._rows, self._start, now, layout=self._layout, api=self._api, warning=warning, is_final=is_final
        )
        write_or_warn(self._path, html, "the report")


def _describe_problem(api: ApiMonitor, now: datetime, *, is_final: bool) -> str:
    if api.outage is not None:
        return format_outage(api.outage, now, is_over=is_final)
    return "" if is_final else format_silence(api)


class JobReportOutput(ReportOutput):
    """Writes the report of a watch.

    Args:
        refs: Jobs that will be watched.
        path: File to write.
        api: The API.
    """

    def __init__(self, refs: Sequence[JobRef], path: Path, api: ApiMonitor | None = None) -> None:
        self._jobs = {ref: JobStates(ref) for ref in refs}
        super().__init__(list(self._jobs.values()), JOB_LAYOUT, path, api)

    def snapshot(self, event: str, ref: JobRef, job: Job) -> None:  # noqa: ARG002 - all events count
        """Add a snapshot to the job's states."""
        self._jobs[ref].update(job)

    def result(self, result: WatchResult) -> None:
        """Add the result of a watch."""
        self._jobs[result.ref].result = result


def render_report(
    rows: Sequence[ReportRow],
    start: datetime,
    now: datetime,
    *,
    layout: ReportLayout = JOB_LAYOUT,
    api: ApiMonitor | None = None,
    warning: str = "",
    is_final: bool = True,
) -> str:
    """Return the HTML of the report.

    Args:
        rows: All jobs, or all images.
        start: Start of the command.
        now: End of the command, or the current time.
        layout: The differences between the reports of jobs and of releases.
        api: The API.
        warning: The current problem with the API; empty if there is none.
        is_final: Whether the command has ended. Until then, the page reloads itself.
    """
    ordered = sort_by_severity(rows)
    axis = Axis.spanning(rows, start, now)
    template = resources.files("clanforge_async.cli.output").joinpath("report.html").read_text("utf-8")
    counts = Counter(row.outcome for row in ordered)
    total = format_count(len(ordered), layout.noun)
    return Template(template).substitute(
        title=escape(f"{total}: {format_counts(counts.elements())}"),
        total=total,
        heading=layout.noun.title(),
        headings="".join(
            f'\n<th scope="col" class="{column.css_class}">{column.heading}</th>' for column in layout.columns
        ),
        note=layout.note,
        api=_render_api(api),
        status=f"{layout.action} from" if is_final else f"being {layout.action}, since",
        until=f" to {_render_time(now)}" if is_final else f", shown as of {_render_time(now)}",
        reload="" if is_final else f'<meta http-equiv="refresh" content="{_REFRESH:.0f}">',
        warning=f'<p class="warning">{escape(warning)}</p>' if warning else "",
        began=_render_time(start),
        took=format_duration((now - start).total_seconds()),
        requests="" if api is None else f", {format_count(api.requests, layout.counted)}",
        counts="".join(
            f'<li class="{name}"><b>{count}</b> {_render_outcome(name)}</li>' for name, count in counts.items()
        ),
        unfinished=_render_unfinished(ordered, layout) if is_final else "",
        grid=render_grid(axis),
        axis=render_axis(axis),
        legend=render_legend(ordered, now),
        timeline="".join(
            f'<tr><th scope="row">{escape(row.name)}{_render_reason(row)}</th>'
            f"<td>{render_bars(row, axis, now)}</td></tr>"
            for row in ordered
        ),
        rows="".join(_render_row(row, layout.columns) for row in ordered),
    )


def _render_api(api: ApiMonitor | None) -> str:
    if api is None:
        return ""
    account = "" if api.account_service_id is None else f", account service ID {api.account_service_id}"
    return f" on {escape(api.host)}{account}"


def _render_reason(row: ReportRow) -> str:
    return f'<small class="{row.outcome}">{escape(row.reason)}</small>' if row.reason else ""


def _render_row(row: ReportRow, columns: Sequence[Column]) -> str:
    started, ended = row.started, row.ended
    run_time = format_duration((ended - started).total_seconds()) if started and ended else ""
    cells = (
        f'<th scope="row">{escape(row.name)}</th>',
        f'<td class="{row.outcome}" data-label="Outcome">{_render_outcome(row.outcome)}</td>',
        f'<td class="reason" data-label="Error">{escape(row.reason)}</td>',
        f'<td data-label="Started">{_render_time(started)}</td>',
        f'<td data-label="Ended">{_render_time(ended)}</td>',
        f'<td class="number" data-label="Ran for">{run_time}</td>',
        *(f'<td class="{each.css_class}" data-label="{each.heading}">{each.cell(row)}</td>' for each in columns),
    )
    return f"<tr>{''.join(cells)}</tr>\n"


def _render_elapsed(result: WatchResult | None) -> str:
    return "" if result is None else format_duration(result.elapsed)


def _render_outcome(name: str) -> str:
    return f'<span aria-hidden="true">{outcome_mark(name)}</span> {name}'


def _render_time(moment: datetime | None) -> str:
    if moment is None:
        return ""
    utc = moment.astimezone(UTC)
    return f'<time datetime="{utc:%Y-%m-%dT%H:%M:%SZ}">{utc:%Y-%m-%d %H:%M:%S}</time>'


def _render_unfinished(rows: Sequence[ReportRow], layout: ReportLayout) -> str:
    arguments = [row.resume_argument for row in rows if row.resume_argument]
    if not arguments:
        return ""
    message = f"{format_count(len(arguments), layout.noun)} {layout.unfinished}."
    command = escape(f"{layout.command} {' '.join(arguments)}")
    return f'<div class="note"><p>{message} Resume with:</p><pre>{command}</pre></div>'
