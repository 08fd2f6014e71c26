"""The calls that the simulator answers."""

from __future__ import annotations

import enum

from clanforge_async.refs import JobKind


class Route(enum.StrEnum):
    """One of the calls, named as the command line names it."""

    IMAGE_DIFF_RETRY = "image-diff retry"
    IMAGE_DIFF_STATUS = "image-diff status"
    IMAGE_VERSION_STATUS = "image-version status"

    @property
    def kind(self) -> JobKind:
        """What the jobs of this call work on."""
        return JobKind(self.partition(" ")[0])

    @property
    def path(self) -> str:
        """The path as both hosts have it, with the job's id as ``{job_id}``."""
        kind, _, verb = self.partition(" ")
        return f"/cfp/v1/{kind.replace('-', '')}/{{job_id}}/{verb}"
