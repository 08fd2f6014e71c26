"""Selects the output of releases for a command's options and for its stdout."""

from __future__ import annotations

import os
import sys

from attrs import frozen

from clanforge_async.cli.output.releases import JsonReleaseOutput, PlainReleaseOutput, ReleaseOutput


@frozen(kw_only=True)
class ReleaseOutputOptions:
    """Options that select the output.

    Attributes:
        as_json: Print JSON to stdout.
        quiet: Print only failures; with ``as_json``, only results.
    """

    as_json: bool = False
    quiet: bool = False

    def select(self, images: list[int]) -> ReleaseOutput:
        """Return the output for these options.

        Args:
            images: The images that are released.
        """
        if self.as_json:
            return JsonReleaseOutput(quiet=self.quiet)
        is_terminal = sys.stdout is not None and sys.stdout.isatty()
        if not self.quiet and is_terminal and os.environ.get("TERM") not in {"dumb", "unknown"}:
            from clanforge_async.cli.output.live_releases import LiveReleaseOutput  # noqa: PLC0415 - loads rich, slowly

            return LiveReleaseOutput(images)
        return PlainReleaseOutput(quiet=self.quiet)
