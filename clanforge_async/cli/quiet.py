"""What is told where nothing but failures is to be told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from clanforge_async import Job, JobRef, WatchResult
from clanforge_async.cli.lines import ending
from clanforge_async.cli.text import say


class Quiet:
    """A presenter that tells of failures, on stderr. That of a single job is left to the complaint in the end.

    Args:
        refs: What will be watched, if anything.
    """

    def __init__(self, refs: Sequence[JobRef] = ()) -> None:
        self._is_one_of_many = len(refs) > 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held back."""

    def snapshot(self, event: str, ref: JobRef, job: Job) -> None:
        """Keep quiet."""

    def result(self, result: WatchResult) -> None:
        """Tell how a watch ended, unless all is well."""
        if self._is_one_of_many and result.error is not None:
            say(ending(result))
