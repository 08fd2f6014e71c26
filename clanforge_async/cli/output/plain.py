"""Plain lines for pipes and logs, and ``--quiet``."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Self

from clanforge_async import APIError, Job, JobFailedError, JobRef, RateLimitError, WatchResult
from clanforge_async.cli.errors import hint, outcome
from clanforge_async.cli.formatting import (
    Styler,
    escape,
    escape_and_truncate,
    format_count,
    format_counts,
    format_datetime,
    format_duration,
    format_job_count,
    print_err,
    print_line,
    stdout_styler,
)
from clanforge_async.cli.outages import ApiMonitor, Outage, Recovery
from clanforge_async.cli.output.base import Output

NOT_POLLED = "not polled yet"
"""Name of the count of jobs without a snapshot."""
_MAX_STATE_LENGTH = 20
"""Longest name of an unknown state to show, in characters."""


class StderrOutages(Output):
    """Prints the start and the end of each outage, and requests that get no response, to stderr.

    Args:
        api: The API.
    """

    def __init__(self, api: ApiMonitor | None = None) -> None:
        self._api = api
        self._is_silent = False

    def outage(self, outage: Outage) -> None:
        """Print an outage."""
        print_err(format_outage(outage))

    def recovery(self, recovery: Recovery) -> None:
        """Print the end of an outage."""
        print_err(f"{recovery.outage.host}: recovered after {format_duration(recovery.seconds)}")

    def tick(self) -> None:
        """Print once that a request has had no response for long."""
        message = "" if self._api is None else format_silence(self._api)
        if message and not self._is_silent:
            print_err(message)
        self._is_silent = bool(message)


class PlainOutput(StderrOutages):
    """Prints each change as a line and, after several jobs, a summary. Outages go to stderr.

    Args:
        refs: Jobs that will be watched, if any.
        api: The API.
        heartbeat: Seconds without a change after which a heartbeat line is printed; 0: never.
    """

    def __init__(self, refs: Sequence[JobRef] = (), api: ApiMonitor | None = None, heartbeat: float = 0.0) -> None:
        super().__init__(api)
        self._styler = stdout_styler()
        self._summary = _Summary(refs, api)
        self._heartbeat = Heartbeat(heartbeat)

    def __enter__(self) -> Self:
        self._summary.start()
        self._heartbeat.restart()
        return self

    def __exit__(self, *_: object) -> None:
        if (summary := self._summary.format()) is not None:
            print_line(summary)

    def snapshot(self, event: str, ref: JobRef, job: Job) -> None:
        """Print a snapshot, unless it is the last of a watch: the result follows at once."""
        self._summary.update(ref, job)
        if event != "update" or not job.is_terminal:
            self._print(f"{ref}  {format_job(job, self._styler)}")

    def result(self, result: WatchResult) -> None:
        """Print the result of a watch."""
        self._summary.add(result)
        self._print(format_result(result, self._styler))

    def tick(self) -> None:
        """Print the counts of states if a heartbeat is due."""
        super().tick()
        if beat := self._heartbeat.format():
            self._print(f"{self._summary.format_progress()}{beat}")

    def _print(self, line: str) -> None:
        print_line(line)
        self._heartbeat.restart()


class QuietOutput(StderrOutages):
    """Prints the failures of several watches to stderr. A single watch's failure is printed as the command's error.

    Args:
        refs: Jobs that will be watched, if any.
        api: The API.
    """

    def __init__(self, refs: Sequence[JobRef] = (), api: ApiMonitor | None = None) -> None:
        super().__init__(api)
        self._prints_failures = len(refs) > 1

    def result(self, result: WatchResult) -> None:
        """Print the result if the job has not completed."""
        if self._prints_failures and result.error is not None:
            print_err(format_result(result))


class Heartbeat:
    """Determines when a heartbeat line is due, because nothing else was printed.

    Args:
        interval: Seconds without any line after which a heartbeat is due; 0: never.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._last_line = 0.0

    def restart(self) -> None:
        """Record that a line is printed."""
        self._last_line = time.monotonic()

    def format(self) -> str:
        """Return the last words of a heartbeat line; empty if no heartbeat is due."""
        idle = time.monotonic() - self._last_line
        return f"; no change for {format_duration(idle)}" if self._interval and idle >= self._interval else ""


class _Summary:
    def __init__(self, refs: Sequence[JobRef], api: ApiMonitor | None) -> None:
        self._api = api
        self._titles = dict.fromkeys(refs, NOT_POLLED)
        self._outcomes: list[str] = []
        self._start = 0.0

    def start(self) -> None:
        self._start = time.monotonic()

    def update(self, ref: JobRef, job: Job) -> None:
        self._titles[ref] = format_state(job).lower()

    def add(self, result: WatchResult) -> None:
        self._titles[result.ref] = outcome(result.error)
        self._outcomes.append(outcome(result.error))

    def format(self) -> str | None:
        """Return the summary; None for a single job, because its own line is enough."""
        count = len(self._titles)
        if count <= 1:
            return None
        unfinished = ["unfinished"] * (count - len(self._outcomes))
        counts = format_counts([*self._outcomes, *unfinished])
        polls = "" if self._api is None else f", {format_count(self._api.requests, 'poll')}"
        return f"{format_job_count(count)}: {counts}; {self._elapsed()}{polls}"

    def format_progress(self) -> str:
        """Return the counts of states and outcomes so far."""
        return format_progress("job", self._titles.values(), time.monotonic() - self._start)

    def _elapsed(self) -> str:
        return format_duration(time.monotonic() - self._start)


def format_progress(noun: str, titles: Collection[str], elapsed: float) -> str:
    """Return the counts of states and outcomes so far: ``3 jobs, 5m00s: 2 running, 1 completed``.

    Args:
        noun: Singular of the counted objects.
        titles: The state or outcome of each object.
        elapsed: Seconds since the start.
    """
    return f"{format_count(len(titles), noun)}, {format_duration(elapsed)}: {format_counts(titles)}"


def format_job(job: Job, styler: Styler = str) -> str:
    """Return a job's state, progress, estimate and error as one line."""
    eta = "" if job.eta is None or job.is_terminal else f"  eta {format_datetime(job.eta)}"
    error = "" if job.error is None else f": {escape_and_truncate(job.error)}"
    return f"{styler(format_state(job))}  {job.progress} %{eta}  updated {format_datetime(job.updated_at)}{error}"


def format_state(job: Job) -> str:
    """Return the name of a job's state; the server's name if this release does not know the state."""
    return escape(job.state_name[:_MAX_STATE_LENGTH]) if job.state is None else job.state.name.title()


def format_result(result: WatchResult, styler: Styler = str) -> str:
    """Return the result of a watch as one line."""
    reason = "" if result.error is None else reason_of(result.error)
    suffix = f": {escape_and_truncate(reason)}" if reason else ""
    return f"{result.ref}  {styler(outcome(result.error))}  {result.elapsed:.1f} s{suffix}"


def reason_of(error: Exception) -> str:
    """Return why a job has not completed; empty if the server gave no reason."""
    return (error.job.error or "") if isinstance(error, JobFailedError) else str(error)


def format_outage(outage: Outage, now: datetime | None = None, *, is_over: bool = False) -> str:
    """Return an outage as one line: the host, the failure, and how long it is tolerated.

    Args:
        outage: The outage.
        now: The current time; None: the outage has just begun.
        is_over: Whether the command has ended, so that no request is repeated any more.
    """
    since = format_datetime(outage.since, "seconds")
    failure = f"outage: {outage.host} fails since {since}: {escape_and_truncate(str(outage.error))}"
    if is_over:
        return "; ".join(filter(None, [failure, advise(outage, is_over=True)]))
    until = outage.deadline(now or outage.since)
    limit = "" if until is None else f", gives up at {format_datetime(until, 'seconds')}"
    return "; ".join(
        filter(None, [failure, f"retrying{limit}" if outage.is_repeated else "not repeated", advise(outage)])
    )


def format_silence(api: ApiMonitor) -> str:
    """Return a line about a request that has had no response for long; empty if there is none."""
    seconds = api.silent_for
    return f"{api.host}: no response for {format_duration(seconds)}; still waiting" if seconds else ""


def format_live_outage(outage: Outage, now: datetime, *, is_over: bool = False) -> str:
    """Return an outage as a text for the live view, with times relative to now.

    Args:
        outage: The outage.
        now: The current time.
        is_over: Whether the command has ended, so that no request is repeated any more.
    """
    until = None if is_over else outage.deadline(now)
    limit = "" if until is None else f", gives up in {format_duration((until - now).total_seconds())}"
    lasted = format_duration((now - outage.since).total_seconds())
    failure = f"{outage.host} fails for {lasted}{limit}: {escape_and_truncate(str(outage.error))}"
    pause = None if is_over else outage.pause_left(now)
    advice = (
        f"next request in {format_duration(pause)}, as the server asks" if pause else advise(outage, is_over=is_over)
    )
    return "; ".join(filter(None, [failure, advice]))


def format_live_warning(api: ApiMonitor | None, now: datetime, *, is_over: bool = False) -> str:
    """Return the current problem with the API, for the live view; empty if there is none.

    Args:
        api: The API; None: unknown.
        now: The current time.
        is_over: Whether the command has ended.
    """
    if api is None:
        return ""
    if api.outage is not None:
        return format_live_outage(api.outage, now, is_over=is_over)
    return "" if is_over else format_silence(api)


def format_past_outage(recovery: Recovery) -> str:
    """Return the line about an ended outage that stays above the live view."""
    outage = recovery.outage
    span = f"{outage.since.astimezone():%H:%M:%S}: {outage.host} failed for {format_duration(recovery.seconds)}"
    return f"{span}: {escape_and_truncate(str(outage.error))}"


def advise(outage: Outage, *, is_over: bool = False) -> str:
    """Return advice about an outage, or the action that the client takes; empty if there is neither.

    Args:
        outage: The outage.
        is_over: Whether the command has ended, so that the client takes no action.
    """
    pause = outage.error.retry_after if isinstance(outage.error, APIError) else None
    if pause is not None:
        action = "the server asks for a pause of" if is_over else "pausing all requests for"
        return f"{action} {format_duration(pause)}{'' if is_over else ', as the server asks'}"
    return "" if isinstance(outage.error, RateLimitError) else hint(outage.error)
