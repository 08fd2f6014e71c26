"""GitHub Actions: an annotation for each job that has not completed, and a table in the step's summary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from clanforge_async import JobRef, WatchResult
from clanforge_async.cli.errors import outcome
from clanforge_async.cli.formatting import (
    SEVERITY_ORDER,
    escape_and_truncate,
    format_counts,
    format_duration,
    format_job_count,
    print_err,
)
from clanforge_async.cli.output.base import Output
from clanforge_async.cli.output.plain import reason_of

_MAX_ROWS = 500
"""Rows of the table in the summary, which may have 1 MiB; the most severe outcomes come first."""


class GitHubOutput(Output):
    """Prints annotations to stderr, and appends a table to the step's summary at the end of the watch.

    Args:
        refs: Jobs that will be watched.
        summary: Path of the summary's file, ``GITHUB_STEP_SUMMARY``; None: there is none.
    """

    def __init__(self, refs: Sequence[JobRef], summary: str | None) -> None:
        self._results: dict[JobRef, WatchResult | None] = dict.fromkeys(refs)
        self._summary = summary

    def __exit__(self, *_: object) -> None:
        if not self._summary:
            return
        try:
            with Path(self._summary).open("a", encoding="utf-8") as file:
                file.write(render_summary(self._results))
        except OSError as error:  # only a warning: the exit status tells how the jobs ended
            print_err(f"warning: the summary of the step could not be written: {error}")

    def result(self, result: WatchResult) -> None:
        """Add the result of a watch, and print an annotation if the job has not completed."""
        self._results[result.ref] = result
        if result.error is not None:
            name = outcome(result.error)
            message = escape_and_truncate(reason_of(result.error) or name)
            # The runner decodes the percent signs, and reads commands from stderr too.
            print_err(f"::error title={result.ref} {name}::{message.replace('%', '%25')}")


def render_summary(results: dict[JobRef, WatchResult | None]) -> str:
    """Return the summary in Markdown: the counts, and a row for each job.

    Args:
        results: The result of each watch; None: it has not ended.
    """
    outcomes = {ref: "unfinished" if result is None else outcome(result.error) for ref, result in results.items()}
    ordered = sorted(results.items(), key=lambda item: SEVERITY_ORDER.index(outcomes[item[0]]))
    lines = [
        f"### clanforge watch: {format_job_count(len(results))}, {format_counts(outcomes.values())}",
        "",
        "| job | outcome | watched for | reason |",
        "|---|---|---:|---|",
        *(_render_row(ref, result, outcomes[ref]) for ref, result in ordered[:_MAX_ROWS]),
        *_render_rest(len(ordered) - _MAX_ROWS),
    ]
    return "\n".join(lines) + "\n\n"


def _render_row(ref: JobRef, result: WatchResult | None, name: str) -> str:
    elapsed = "" if result is None else format_duration(result.elapsed)
    reason = "" if result is None or result.error is None else escape_and_truncate(reason_of(result.error))
    return f"| {ref} | {name} | {elapsed} | {_escape_markdown(reason)} |"


def _render_rest(count: int) -> Iterator[str]:
    if count > 0:
        yield f"| and {count} more | | | |"


def _escape_markdown(text: str) -> str:
    """Return a text that Markdown takes literally, links and mentions included."""
    return "".join(char if char.isalnum() or char in " .,:()/" else f"&#{ord(char)};" for char in text)
