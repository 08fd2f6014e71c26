"""GitHub Actions: an annotation for each job or release that failed, and a table in the step's summary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from clanforge_async.cli.formatting import (
    SEVERITY_ORDER,
    escape_and_truncate,
    format_count,
    format_counts,
    format_duration,
    print_err,
)
from clanforge_async.cli.output.cases import Case, CaseOutput

_MAX_ROWS = 500
"""Largest number of rows in the summary's table, since a summary may have 1 MiB. The most severe come first."""


class GitHubOutput(CaseOutput):
    """Prints annotations to stderr, and appends a table to the step's summary at the end of the command.

    Args:
        cases: All cases, unfinished.
        command: The command.
        noun: Name of a case: job or image.
        summary: Path of the summary's file, ``GITHUB_STEP_SUMMARY``; None: there is none.
    """

    def __init__(self, cases: Sequence[Case], command: str, noun: str, summary: str | None) -> None:
        super().__init__(cases, command)
        self._noun = noun
        self._summary = summary

    def __exit__(self, *_: object) -> None:
        if not self._summary:
            return
        try:
            with Path(self._summary).open("a", encoding="utf-8") as file:
                file.write(render_summary(list(self._cases.values()), self._command, self._noun))
        except OSError as error:  # only a warning: the exit status reports the outcome of the jobs
            print_err(f"warning: the summary of the step could not be written: {error}")

    def add(self, case: Case) -> None:
        """Add a case that has ended, and print an annotation if it is a failure or an error."""
        super().add(case)
        if case.verdict in {"failure", "error"}:
            message = escape_and_truncate(case.reason or case.outcome)
            # The runner decodes the percent signs, and reads commands from stderr too.
            print_err(f"::error title={case.name} {case.outcome}::{message.replace('%', '%25')}")


def render_summary(cases: Sequence[Case], command: str, noun: str) -> str:
    """Return the summary in Markdown: the counts, and a row for each case.

    Args:
        cases: The cases.
        command: The command.
        noun: Name of a case.
    """
    ordered = sorted(cases, key=lambda case: SEVERITY_ORDER.index(case.outcome))
    counts = format_counts(case.outcome for case in cases)
    lines = [
        f"### {command}: {format_count(len(cases), noun)}, {counts}",
        "",
        f"| {noun} | outcome | time | reason |",
        "|---|---|---:|---|",
        *map(_render_row, ordered[:_MAX_ROWS]),
        *_render_rest(len(ordered) - _MAX_ROWS),
    ]
    return "\n".join(lines) + "\n\n"


def _render_row(case: Case) -> str:
    elapsed = "" if case.seconds is None else format_duration(case.seconds)
    reason = _escape_markdown(escape_and_truncate(case.reason))
    return f"| {case.name} | {case.outcome} | {elapsed} | {reason} |"


def _render_rest(count: int) -> Iterator[str]:
    if count > 0:
        yield f"| and {count} more | | | |"


def _escape_markdown(text: str) -> str:
    """Return a text escaped for Markdown, including links and mentions."""
    return "".join(char if char.isalnum() or char in " .,:()/" else f"&#{ord(char)};" for char in text)
