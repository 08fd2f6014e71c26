"""What to show of jobs: the choice between the presenters."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from clanforge_async import JobRef
from clanforge_async.cli.presenters import Presenter, Together


@frozen(kw_only=True)
class Show:
    """What to show of jobs, and to whom.

    Attributes:
        as_json: Whether a program reads stdout.
        quiet: Whether there is to be nothing but results for a program, and failures for people.
        report: Where to write a page of how it went, None where none is wanted.
    """

    as_json: bool = False
    quiet: bool = False
    report: Path | None = None

    def presenter(self, live: Sequence[JobRef] = ()) -> Presenter:
        """Return what presents jobs on the stdout that there is.

        Args:
            live: What will be watched. It deserves a report, and a live view where a terminal can show one.
        """
        if self.report is None or not live:
            return self._presenter(live)
        from clanforge_async.cli.report import Report  # noqa: PLC0415 - what is not used is not loaded

        # Left in reverse order: the page is written when all else has been told.
        return Together(Report(live, self.report), self._presenter(live))

    def _presenter(self, live: Sequence[JobRef]) -> Presenter:
        if self.as_json:
            from clanforge_async.cli.records import Records  # noqa: PLC0415 - as above

            return Records(quiet=self.quiet)
        if self.quiet:
            from clanforge_async.cli.quiet import Quiet  # noqa: PLC0415 - as above

            return Quiet(live)
        if live and _has_a_cursor():
            from clanforge_async.cli.live import LiveView  # noqa: PLC0415 - rich takes its time

            return LiveView(live)
        from clanforge_async.cli.lines import Lines  # noqa: PLC0415 - as above

        return Lines(live)


def _has_a_cursor() -> bool:
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}
