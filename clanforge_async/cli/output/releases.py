"""Outputs of releases: plain lines and JSON lines."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, Self

from clanforge_async.cli.formatting import (
    Styler,
    escape_and_truncate,
    format_datetime,
    format_duration,
    print_line,
    stdout_styler,
)

if TYPE_CHECKING:
    from clanforge_async import ImageRollout, Job, ReleaseEvent, ReleaseResult


class ReleaseOutput(Protocol):
    """Shows releases. A context manager: entered once, before anything is shown."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...

    def event(self, event: ReleaseEvent) -> None:
        """Show an event."""

    def result(self, result: ReleaseResult) -> None:
        """Show how a release ended."""

    def paused(self) -> Any:
        """Return a context in which the terminal is free for a question."""


class PlainReleaseOutput:
    """Prints each event as a line.

    Args:
        quiet: Print nothing: errors are left to the command.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._styler = stdout_styler()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Do nothing: each line is printed at once."""

    @contextmanager
    def paused(self) -> Generator[None]:
        """Leave the terminal as it is."""
        yield

    def event(self, event: ReleaseEvent) -> None:
        """Print an event."""
        if not self._quiet and event.kind != "finished":
            print_line(f"{event.release.image_id}  {event.step}  {format_event(event, self._styler)}")

    def result(self, result: ReleaseResult) -> None:
        """Print how a release ended."""
        if not self._quiet:
            print_line(f"{result.image_id}  {format_result(result, self._styler)}")


class JsonReleaseOutput:
    """Prints each event as a JSON object.

    Args:
        quiet: Print only results.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Do nothing: each object is printed at once."""

    @contextmanager
    def paused(self) -> Generator[None]:
        """Leave stdout as it is."""
        yield

    def event(self, event: ReleaseEvent) -> None:
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

    def result(self, result: ReleaseResult) -> None:
        """Print how a release ended."""
        error = result.error
        jobs = {"update": result.token.update, "diff": result.token.diff, "version": result.token.version}
        record: dict[str, Any] = {
            "event": "result",
            "image": result.image_id,
            "step": getattr(error, "step", None),
            "outcome": result.outcome,
            "error": None if error is None else str(error),
            "error_type": None if error is None else type(error.__cause__ or error).__name__,
            "token": str(result.token),
            **{name: None if ref is None else ref.id for name, ref in jobs.items()},
            "rollout_observed": result.rollout_observed,
            "elapsed": round(result.elapsed, 3),
        }
        print_json(record | _rollout_fields(result.rollout))


def print_json(record: dict[str, Any]) -> None:
    """Print a JSON object on one line, in ASCII: escapes keep control characters out of terminals."""
    print_line(json.dumps(record, ensure_ascii=True))


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


def format_result(result: ReleaseResult, styler: Styler = str) -> str:
    """Return how a release ended as text, without its image."""
    version = "" if result.token.version is None else f"  image-version/{result.token.version.id}"
    machines = "" if result.rollout is None else f"  {format_rollout(result.rollout)}"
    unseen = "" if result.rollout is None or result.rollout_observed else ", no install seen"
    return f"{styler(result.outcome)}  {format_duration(result.elapsed)}{version}{machines}{unseen}"
