"""The live view for terminals."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Self

from attrs import evolve
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from clanforge_async import Job, JobRef, WatchResult
from clanforge_async.cli.board import frame
from clanforge_async.cli.lines import ending
from clanforge_async.cli.reflow import Reflow
from clanforge_async.cli.tracks import Track

_FRAMES_PER_SECOND = 4


class LiveView:
    """A presenter that keeps all jobs in sight, and gives the reasons of failures in full underneath.

    Args:
        refs: What will be watched.
    """

    def __init__(self, refs: Iterable[JobRef]) -> None:
        # Not for rich to judge: its variables that force colours into pipes say nothing of what stdout is.
        self._console = Console(file=sys.stdout, force_terminal=True, highlight=False)
        self._began = datetime.now(UTC)
        self._tracks = {ref: Track(ref) for ref in refs}
        self._failures: list[str] = []
        self._reflow = Reflow(self._console)
        self._live = Live(
            console=self._console,
            get_renderable=self._frame,
            refresh_per_second=_FRAMES_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=sys.stderr.isatty(),
            vertical_overflow="crop",
        )

    def __enter__(self) -> Self:
        self._console.push_render_hook(self._reflow)
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        self._console.pop_render_hook()
        for failure in self._failures:
            self._console.print(Text(failure), soft_wrap=True)

    def snapshot(self, event: str, ref: JobRef, job: Job) -> None:  # noqa: ARG002 - it looks alike for all events
        """Move the job to where it is."""
        self._tracks[ref] = evolve(self._tracks[ref], job=job)

    def result(self, result: WatchResult) -> None:
        """Note what the job's watch took, and how it ended where its last state does not tell."""
        track = self._tracks[result.ref]
        self._tracks[result.ref] = evolve(track, job=result.job or track.job, result=result)
        if result.error is not None:
            self._failures.append(ending(result))

    def _frame(self) -> Group:
        width, height = self._console.size
        lines = frame(
            list(self._tracks.values()),
            began=self._began,
            now=datetime.now(UTC),
            width=width,
            height=height,
            ascii_only=self._console.options.ascii_only,
        )
        self._reflow.next_widths = [line.cell_len for line in lines]
        return Group(*lines)
