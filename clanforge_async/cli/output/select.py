"""Selects the output for a command's options and for its stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from clanforge_async.refs import JobRef

if TYPE_CHECKING:  # --help loads none of the outputs
    from clanforge_async.cli.outages import ApiMonitor
    from clanforge_async.cli.output.base import Output
    from clanforge_async.cli.output.cases import Case


@frozen(kw_only=True)
class OutputOptions:
    """Options that select the output.

    Attributes:
        as_json: Print JSON to stdout.
        quiet: Print only failures; with ``as_json``, only results.
        report: File for the HTML report; None: no report.
        junit: File for the JUnit XML; None: none.
        heartbeat: Seconds without a change after which a pipe gets a line anyway; 0: never.
    """

    as_json: bool = False
    quiet: bool = False
    report: Path | None = None
    junit: Path | None = None
    heartbeat: float = 0.0

    @property
    def shows_reasons(self) -> bool:
        """Whether stdout shows in readable form why a watched job has not completed."""
        return not self.as_json and not self.quiet

    def select(self, watched: Sequence[JobRef] = (), api: ApiMonitor | None = None) -> Output:
        """Return the output for these options.

        Args:
            watched: Jobs that will be watched. Without any there are no files and no live table.
            api: The API; None: unknown, as in tests of outputs.
        """
        stdout = self._select_for_stdout(watched, api)
        return self._with_files(stdout, list(self._files_of_watch(watched, api)) if watched else [])

    def select_for_releases(self, images: Sequence[int], api: ApiMonitor | None = None) -> Output:
        """Return the output for these options.

        Args:
            images: Images that will be released.
            api: The API; None: unknown, as in tests of outputs.
        """
        return self._with_files(self._select_for_releases(images, api), list(self._files_of_releases(images, api)))

    def _with_files(self, stdout: Output, files: Sequence[Output]) -> Output:
        if not files:
            return stdout
        from clanforge_async.cli.output.base import MultiOutput  # noqa: PLC0415 - loaded only if needed

        # The first output that is entered exits last: files are written after everything else was printed.
        return MultiOutput(*files, stdout)

    def _files_of_watch(self, watched: Sequence[JobRef], api: ApiMonitor | None) -> Iterator[Output]:
        if self.report is not None:
            from clanforge_async.cli.output.report import JobReportOutput  # noqa: PLC0415 - as above

            yield JobReportOutput(watched, self.report, api)
        if self._has_cases():
            from clanforge_async.cli.output.cases import Case  # noqa: PLC0415 - as above

            yield from self._case_outputs([Case.of_job(ref) for ref in watched], "clanforge watch", "job")

    def _files_of_releases(self, images: Sequence[int], api: ApiMonitor | None) -> Iterator[Output]:
        if self.report is not None:
            from clanforge_async.cli.output.release_report import ReleaseReportOutput  # noqa: PLC0415 - as above

            yield ReleaseReportOutput(images, self.report, api)
        if self._has_cases():
            from clanforge_async.cli.output.cases import Case  # noqa: PLC0415 - as above

            yield from self._case_outputs([Case.of_release(image) for image in images], "clanforge release", "image")

    def _has_cases(self) -> bool:
        return self.junit is not None or _is_github()

    def _case_outputs(self, cases: Sequence[Case], command: str, noun: str) -> Iterator[Output]:
        if self.junit is not None:
            from clanforge_async.cli.output.junit import JUnitOutput  # noqa: PLC0415 - as above

            yield JUnitOutput(cases, command, self.junit)
        if _is_github():
            from clanforge_async.cli.output.github import GitHubOutput  # noqa: PLC0415 - as above

            yield GitHubOutput(cases, command, noun, os.environ.get("GITHUB_STEP_SUMMARY"))

    def _select_for_stdout(self, watched: Sequence[JobRef], api: ApiMonitor | None) -> Output:
        if self.as_json:
            from clanforge_async.cli.output.jsonl import JsonLinesOutput  # noqa: PLC0415 - as above

            return JsonLinesOutput(quiet=self.quiet)
        if watched and not self.quiet and _stdout_moves_its_cursor():
            from clanforge_async.cli.output.live import LiveOutput  # noqa: PLC0415 - rich is slow to import

            return LiveOutput(watched, api)
        from clanforge_async.cli.output.plain import PlainOutput, QuietOutput  # noqa: PLC0415 - as above

        return QuietOutput(watched, api) if self.quiet else PlainOutput(watched, api, self.heartbeat)

    def _select_for_releases(self, images: Sequence[int], api: ApiMonitor | None) -> Output:
        from clanforge_async.cli.output.releases import (  # noqa: PLC0415 - as above
            JsonReleaseOutput,
            PlainReleaseOutput,
        )

        if self.as_json:
            return JsonReleaseOutput(quiet=self.quiet)
        if self.quiet:
            from clanforge_async.cli.output.plain import StderrOutages  # noqa: PLC0415 - as above

            return StderrOutages(api)
        if _stdout_moves_its_cursor():
            from clanforge_async.cli.output.live_releases import LiveReleaseOutput  # noqa: PLC0415 - as above

            return LiveReleaseOutput(images, api)
        return PlainReleaseOutput(images, api, self.heartbeat)


def _stdout_moves_its_cursor() -> bool:
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}


def _is_github() -> bool:
    return os.environ.get("GITHUB_ACTIONS") == "true"
