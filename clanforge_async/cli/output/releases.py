"""Outputs of releases: plain lines and JSON lines."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Self

from clanforge_async import ImageRollout, Job, ReleaseEvent, ReleaseResult
from clanforge_async.cli.formatting import (
    Styler,
    escape_and_truncate,
    format_datetime,
    format_duration,
    print_line,
    stdout_styler,
)
from clanforge_async.cli.outages import ApiMonitor
from clanforge_async.cli.output.jsonl import JsonLinesOutput, print_json
from clanforge_async.cli.output.plain import Heartbeat, StderrOutages, format_progress
from clanforge_async.cli.release_errors import describe_release_error, last_failure


class PlainReleaseOutput(StderrOutages):
    """Prints each event as a line. Outages go to stderr.

    Args:
        images: The images that are released.
        api: The API.
        heartbeat: Seconds without a line after which one is printed anyway; 0: never.
    """

    def __init__(self, images: Sequence[int], api: ApiMonitor | None = None, heartbeat: float = 0.0) -> None:
        super().__init__(api)
        self._titles = dict.fromkeys(images, "waiting")
        self._last_lines: dict[int, str] = {}
        self._styler = stdout_styler()
        self._heartbeat = Heartbeat(heartbeat)
        self._start = 0.0

    def __enter__(self) -> Self:
        self._start = time.monotonic()
        self._heartbeat.restart()
        return self

    def release_event(self, event: ReleaseEvent) -> None:
        """Print an event, unless its line would be the last one of the image again."""
        if event.kind == "finished":
            return
        image = event.release.image_id
        self._titles[image] = event.step
        line = f"{image}  {event.step}  {format_event(event, self._styler)}"
        if self._last_lines.get(image) != line:
            self._last_lines[image] = line
            self._print(line)

    def release_result(self, result: ReleaseResult) -> None:
        """Print how a release ended; of several, also why it failed, long before the command's own error."""
        self._titles[result.image_id] = result.outcome
        reason = reason_of(result) if len(self._titles) > 1 else ""
        self._print(f"{result.image_id}  {format_result(result, self._styler)}{reason and ': '}{reason}")

    def tick(self) -> None:
        """Print the counts of steps and outcomes if nothing was printed for a heartbeat."""
        super().tick()
        if beat := self._heartbeat.format():
            self._print(format_progress("image", self._titles.values(), time.monotonic() - self._start) + beat)

    def _print(self, line: str) -> None:
        print_line(line)
        self._heartbeat.restart()


class JsonReleaseOutput(JsonLinesOutput):
    """Prints each event as a JSON object, and outages as for a watch.

    Args:
        quiet: Print only results; outages go to stderr.
    """

    def release_event(self, event: ReleaseEvent) -> None:
        """Print an event."""
        if self._quiet or event.kind == "finished":
            return
        name = {"job": "update", "rollout": "rollout"}.get(event.kind, "step")
        record: dict[str, Any] = {
            "event": name,
            "image": event.release.image_id,
            "step": event.step.value,
            "kind": event.kind,
            "token": str(event.token),
            "at": format_datetime(event.at),
        }
        print_json(record | _job_fields(event.job) | _rollout_fields(event.rollout))

    def release_result(self, result: ReleaseResult) -> None:
        """Print how a release ended."""
        error, failure = result.error, last_failure(result.error)
        cause = None if error is None or failure is not None else error.__cause__
        jobs = {"update": result.token.update, "diff": result.token.diff, "version": result.token.version}
        record: dict[str, Any] = {
            "event": "result",
            "image": result.image_id,
            "step": getattr(error, "step", None),
            "outcome": result.outcome,
            "error": None if error is None else describe_release_error(error),
            "error_type": None if error is None else type(cause or error).__name__,
            "last_error": None if failure is None else str(failure),
            "token": str(result.token),
            **{name: None if ref is None else ref.id for name, ref in jobs.items()},
            "rollout_observed": result.rollout_observed,
            "elapsed": round(result.elapsed, 3),
        }
        print_json(record | _rollout_fields(result.rollout))


def _job_fields(job: Job | None) -> dict[str, Any]:
    if job is None:
        return {}
    state = None if job.state is None else job.state.name.lower()
    eta = None if job.eta is None else format_datetime(job.eta)
    return {"ref": str(job.ref), "state": state, "progress": job.progress, "eta": eta, "error": job.error}


def _rollout_fields(rollout: ImageRollout | None) -> dict[str, Any]:
    if rollout is None:
        return {}
    return {"pending": rollout.pending, "failed": rollout.failed, "completed": rollout.completed}


def format_event(event: ReleaseEvent, styler: Styler = str) -> str:
    """Return an event as text, without its image and step."""
    if event.job is not None:
        job = event.job
        state = escape_and_truncate(job.state_name) if job.state is None else job.state.name.title()
        return f"{job.kind}/{job.id}  {styler(state)}  {job.progress} %"
    if event.rollout is not None:
        return format_rollout(event.rollout)
    return event.kind


def format_rollout(rollout: ImageRollout) -> str:
    """Return the counts of machines as text."""
    return f"{rollout.pending} pending, {rollout.failed} failed, {rollout.completed} completed"


def reason_of(result: ReleaseResult) -> str:
    """Return why a release failed, without its image; empty if it did not."""
    if result.ok or result.error is None:
        return ""
    return escape_and_truncate(
        describe_release_error(result.error).removeprefix(f"release of image {result.image_id}, ")
    )


def format_result(result: ReleaseResult, styler: Styler = str) -> str:
    """Return how a release ended as text, without its image."""
    version = "" if result.token.version is None else f"  image-version/{result.token.version.id}"
    machines = "" if result.rollout is None else f"  {format_rollout(result.rollout)}"
    unseen = "" if result.rollout is None or result.rollout_observed else ", no install seen"
    return f"{styler(result.outcome)}  {format_duration(result.elapsed)}{version}{machines}{unseen}"
