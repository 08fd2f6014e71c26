"""``clanforge status``: the current status of several jobs as a table, or all fields of a single job."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from attrs import fields, frozen

from clanforge_async import ClanforgeError, ImageDiffDetails, Job, JobRef
from clanforge_async.cli.commands import read_status, report_outages
from clanforge_async.cli.errors import COMPLETED, exit_status, hint, print_job_failure
from clanforge_async.cli.formatting import (
    Styler,
    escape_and_truncate,
    format_age,
    format_count,
    format_datetime,
    format_duration,
    format_local_time,
    format_time_left,
    print_err,
    print_line,
    stdout_styler,
)
from clanforge_async.cli.output.jsonl import JsonLinesOutput
from clanforge_async.cli.output.plain import format_state
from clanforge_async.cli.output.select import OutputOptions
from clanforge_async.cli.parameters import ConnectionOptions
from clanforge_async.jobs import job_failure

_HEADINGS = ("JOB", "STATE", "PROGRESS", "UPDATED", "ESTIMATED END")


@frozen
class JobStatus:
    """The result of reading a job once.

    Attributes:
        ref: The requested reference.
        job: The snapshot; None if it could not be read.
        error: Why it could not be read, or the failure of the job; None for any other job.
    """

    ref: JobRef
    job: Job | None
    error: ClanforgeError | None


async def show_statuses(connection: ConnectionOptions, refs: Sequence[JobRef], output_options: OutputOptions) -> int:
    """Read each job once, show them, and return the highest exit status."""
    async with connection.client() as client:
        report_outages(client)
        if len(refs) == 1:
            [ref] = refs
            try:
                job = await read_status(client, ref, include_details=True)
            except ClanforgeError as error:
                if output_options.as_json:
                    JsonLinesOutput().read_error(ref, error)
                raise
            _show([JobStatus(ref, job, None)], output_options)
            failure = job_failure(job)
            shown = output_options.shows_reasons
            return COMPLETED if failure is None else print_job_failure(ref, failure, is_reason_shown=shown)

        async def read(ref: JobRef) -> JobStatus:
            job = None
            try:
                job = await read_status(client, ref)
                job.raise_for_failure()
            except ClanforgeError as error:
                return JobStatus(ref, job, error)
            return JobStatus(ref, job, None)

        statuses = await asyncio.gather(*map(read, refs))
    _show(statuses, output_options)
    _print_errors(statuses)
    return max((exit_status(status.error) for status in statuses if status.error is not None), default=COMPLETED)


def _show(statuses: Sequence[JobStatus], output_options: OutputOptions) -> None:
    if output_options.as_json:
        output = JsonLinesOutput()
        for status in statuses:
            if status.job is not None:
                output.snapshot("status", status.ref, status.job)
            else:
                output.read_error(status.ref, status.error)
    elif not output_options.quiet:
        now = datetime.now(UTC)
        for line in _describe_single(statuses, now) or render_table(statuses, now):
            print_line(line)


def _describe_single(statuses: Sequence[JobStatus], now: datetime) -> list[str]:
    job = statuses[0].job if len(statuses) == 1 else None
    return [] if job is None else describe(job, statuses[0].ref, now)


def _print_errors(statuses: Sequence[JobStatus]) -> None:
    unread: list[Exception] = [status.error for status in statuses if status.error is not None and status.job is None]
    failed = sum(status.error is not None for status in statuses) - len(unread)
    counts = {"failed or squashed": failed, "could not be read": len(unread)}
    parts = [f"{count} {text}" for text, count in counts.items() if count]
    if parts:
        hints = dict.fromkeys(text for error in unread if (text := hint(error)))
        print_err("; ".join([f"error: of {format_count(len(statuses), 'job')}, {' and '.join(parts)}", *hints]))


def render_table(statuses: Sequence[JobStatus], now: datetime) -> list[str]:
    """Return the lines of the table, with ages and estimated ends relative to now.

    Args:
        statuses: The jobs, in the order in which they were requested.
        now: The current time.
    """
    rows = [_HEADINGS, *(_cells(status, now) for status in statuses)]
    widths = [max(len(row[column]) for row in rows if column < len(row) - 1) for column in range(len(_HEADINGS) - 1)]
    styler = stdout_styler()
    return [_render_row(row, widths, styler) for row in rows]


def _cells(status: JobStatus, now: datetime) -> tuple[str, ...]:
    job = status.job
    if job is None:
        return str(status.ref), f"error: {escape_and_truncate(str(status.error))}"
    progress, age = f"{job.progress} %", format_age((now - job.updated_at).total_seconds())
    return str(status.ref), format_state(job), progress, age, _end(status.ref, job, now)


def _end(ref: JobRef, job: Job, now: datetime) -> str:
    if ref.newer_than is not None and job.updated_at < ref.newer_than:
        return "the previous run is still shown"
    if job.is_terminal:
        return escape_and_truncate(job.error or "")
    if job.eta is None:
        return "no estimate"
    return f"{format_local_time(job.eta, now)} {format_time_left((job.eta - now).total_seconds())}"


def _render_row(row: tuple[str, ...], widths: Sequence[int], styler: Styler) -> str:
    cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
    if len(cells) > 1 and row is not _HEADINGS:
        cells[1] = cells[1].replace(row[1], styler(row[1]))
    return "  ".join([*cells, row[-1]]).rstrip()


def describe(job: Job, ref: JobRef, now: datetime) -> list[str]:
    """Return all fields of a job, one per line.

    Args:
        job: The job.
        ref: The requested reference.
        now: The current time.
    """
    properties = dict(_properties(job, ref, now))
    width = max(map(len, properties))
    return [str(ref), *(f"  {name.ljust(width)}  {value}" for name, value in properties.items())]


def _properties(job: Job, ref: JobRef, now: datetime) -> Iterator[tuple[str, str]]:
    number = "no number" if job.state_id is None else f"number {job.state_id}"
    yield "state", f"{stdout_styler()(format_state(job))} ({number}, {escape_and_truncate(repr(job.state_name))})"
    if ref.newer_than is not None and job.updated_at < ref.newer_than:
        yield "run", f"the previous one: not updated since {format_datetime(ref.newer_than)}"
    yield "progress", f"{job.progress} %"
    for name, moment in (("created", job.created_at), ("started", job.started_at), ("updated", job.updated_at)):
        yield name, "not yet" if moment is None else _moment(moment, now)
    yield "estimated end", "no estimate" if job.eta is None else _estimate(job, now)
    if job.is_terminal and job.started_at is not None:
        yield "ran for", format_duration((job.updated_at - job.started_at).total_seconds())
    yield "failures", str(job.failure_count)
    yield "error", "none" if job.error is None else escape_and_truncate(job.error)
    base = {field.name for field in fields(Job)}
    for field in fields(type(job)):
        if field.name not in base:
            yield from _details(field.name.replace("_", " "), getattr(job, field.name))


def _details(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, ImageDiffDetails):
        for field in fields(ImageDiffDetails):
            yield field.name, _members(getattr(value, field.name))
    elif isinstance(value, Mapping):
        files = cast("Mapping[str, Any]", value)
        yield f"{name} files", str(len(files))
    else:
        yield name, {True: "yes", False: "no"}.get(value, escape_and_truncate(str(value)))


def _members(value: Mapping[str, Any] | None) -> str:
    if value is None:
        return "not sent"
    return escape_and_truncate(", ".join(f"{key} {member}" for key, member in value.items()))


def _moment(moment: datetime, now: datetime) -> str:
    return f"{format_datetime(moment)} ({format_age((now - moment).total_seconds())})"


def _estimate(job: Job, now: datetime) -> str:
    assert job.eta is not None  # noqa: S101 - the caller has checked it
    left = "" if job.is_terminal else f" ({format_time_left((job.eta - now).total_seconds())})"
    return format_datetime(job.eta) + left
