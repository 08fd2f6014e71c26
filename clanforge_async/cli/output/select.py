"""Selects the output for a command's options and for its stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from clanforge_async import JobRef
from clanforge_async.cli.output.base import MultiOutput, Output


@frozen(kw_only=True)
class OutputOptions:
    """Options that select the output.

    Attributes:
        as_json: Print JSON to stdout.
        quiet: Print only failures; with ``as_json``, only results.
        report: File for the HTML report; None: no report.
    """

    as_json: bool = False
    quiet: bool = False
    report: Path | None = None

    def select(self, watched: Sequence[JobRef] = ()) -> Output:
        """Return the output for these options.

        Args:
            watched: Jobs that will be watched. Without any there is no report and no live table.
        """
        if self.report is None or not watched:
            return self._select_for_stdout(watched)
        from clanforge_async.cli.output.report import ReportOutput  # noqa: PLC0415 - loaded only if needed

        # The first to be entered is the last to exit: the report is written after everything else is printed.
        return MultiOutput(ReportOutput(watched, self.report), self._select_for_stdout(watched))

    def _select_for_stdout(self, watched: Sequence[JobRef]) -> Output:
        if self.as_json:
            from clanforge_async.cli.output.jsonl import JsonLinesOutput  # noqa: PLC0415 - as above

            return JsonLinesOutput(quiet=self.quiet)
        if watched and not self.quiet and _stdout_moves_its_cursor():
            from clanforge_async.cli.output.live import LiveOutput  # noqa: PLC0415 - rich is slow to import

            return LiveOutput(watched)
        from clanforge_async.cli.output.plain import PlainOutput, QuietOutput  # noqa: PLC0415 - as above

        return QuietOutput(watched) if self.quiet else PlainOutput(watched)


def _stdout_moves_its_cursor() -> bool:
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}
