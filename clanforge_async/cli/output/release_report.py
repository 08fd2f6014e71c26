"""The report of releases: a row for each image, with its steps and jobs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape as escape_html
from pathlib import Path

from attrs import define, field

from clanforge_async import Job, JobKind, ReleaseEvent, ReleaseResult, ReleaseToken
from clanforge_async.cli.formatting import escape
from clanforge_async.cli.outages import ApiMonitor
from clanforge_async.cli.output.plain import format_state
from clanforge_async.cli.output.releases import format_rollout
from clanforge_async.cli.output.report import Column, ReportLayout, ReportOutput
from clanforge_async.cli.output.report_row import StateSpan, make_spans
from clanforge_async.cli.release_errors import describe_release_error, is_over, is_resumable

RELEASE_LAYOUT = ReportLayout(
    noun="image",
    action="released",
    counted="request",
    note="Times of steps are by the local clock.",
    unfinished="had not finished when the command ended",
    command="clanforge release resume",
    columns=(
        Column(heading="Jobs", css_class="jobs", cell=lambda steps: "<br>".join(map(escape_html, steps.jobs))),
        Column(heading="Machines", css_class="machines", cell=lambda steps: steps.machines),
    ),
)


@define
class ReleaseSteps:
    """The steps of a release as known from its events, and its result.

    Attributes:
        image_id: The image.
        result: The result of the release; None before its end.
        ended: Time of its end; None before that.
        machines: The counts of machines, as text.
    """

    image_id: int
    result: ReleaseResult | None = None
    ended: datetime | None = None
    machines: str = ""
    _token: ReleaseToken | None = None
    _jobs: dict[JobKind, Job] = field(factory=dict[JobKind, Job])
    _entered: list[tuple[str, datetime]] = field(factory=list[tuple[str, datetime]])

    def update(self, event: ReleaseEvent) -> None:
        """Add an event."""
        self._token = event.token
        if event.job is not None:
            self._jobs[event.job.kind] = event.job
        if event.rollout is not None:
            self.machines = format_rollout(event.rollout)
        if event.kind == "finished":
            self.ended = event.at
            return
        title = "Waiting" if event.kind == "waiting" else event.step.title()
        if not self._entered or self._entered[-1][0] != title:
            self._entered.append((title, event.at))

    @property
    def name(self) -> str:
        """The image."""
        return f"image {self.image_id}"

    @property
    def outcome(self) -> str:
        """Outcome of the release; ``unfinished`` without a result."""
        return "unfinished" if self.result is None else self.result.outcome

    @property
    def reason(self) -> str:
        """The error with which the release ended; empty without one."""
        error = None if self.result is None else self.result.error
        return "" if error is None else escape(describe_release_error(error))

    @property
    def jobs(self) -> list[str]:
        """The release's jobs with their states, in the order of the steps."""
        refs = [] if self._token is None else [self._token.update, self._token.diff, self._token.version]
        return [f"{ref.kind}/{ref.id}{self._state(ref.kind)}" for ref in refs if ref is not None]

    def _state(self, kind: JobKind) -> str:
        job = self._jobs.get(kind)
        return "" if job is None else f" {format_state(job).lower()}"

    @property
    def resume_argument(self) -> str:
        """The token that resumes the release; empty if there is nothing to resume."""
        if self._token is None or not is_resumable(self._token) or (self.result is not None and is_over(self.result)):
            return ""
        return str(self._token)

    @property
    def timeline_start(self) -> datetime | None:
        """Time of the first event."""
        return self._entered[0][1] if self._entered else None

    @property
    def started(self) -> datetime | None:
        """Time of the first event."""
        return self.timeline_start

    def spans(self, now: datetime) -> list[StateSpan]:
        """Return the steps in order; the last one lasts until the release's end, or until now."""
        return make_spans(self._entered, self.ended or now)


class ReleaseReportOutput(ReportOutput):
    """Writes the report of releases.

    Args:
        images: The images that are released.
        path: File to write.
        api: The API.
    """

    def __init__(self, images: Sequence[int], path: Path, api: ApiMonitor | None = None) -> None:
        self._images = {image: ReleaseSteps(image) for image in images}
        super().__init__(list(self._images.values()), RELEASE_LAYOUT, path, api)

    def release_event(self, event: ReleaseEvent) -> None:
        """Add an event to the image's steps."""
        self._images[event.release.image_id].update(event)

    def release_result(self, result: ReleaseResult) -> None:
        """Add how a release ended."""
        self._images[result.image_id].result = result
