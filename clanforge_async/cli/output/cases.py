"""Outcomes of jobs and releases for pipelines: the data of JUnit XML, annotations and summaries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self, TypeAlias

from attrs import evolve, frozen

from clanforge_async import JobFailedError, JobRef, ReleaseResult, WatchResult
from clanforge_async.cli.errors import JOB_FAILED, exit_status, outcome
from clanforge_async.cli.output.base import Output
from clanforge_async.cli.output.plain import reason_of
from clanforge_async.cli.release_errors import describe_release_error

Verdict: TypeAlias = Literal["passed", "failure", "error", "skipped"]


@frozen(kw_only=True)
class Case:
    """One job or one release.

    Attributes:
        name: The job's reference, or the image.
        group: The job's kind, or ``release``.
        outcome: How the watch or the release ended; ``unfinished`` before.
        reason: Why it did not succeed; empty without a reason.
        seconds: Its duration in seconds; None before its end.
        verdict: Its class in a pipeline, such as a failure or an error.
    """

    name: str
    group: str
    outcome: str = "unfinished"
    reason: str = ""
    seconds: float | None = None
    verdict: Verdict = "skipped"

    @classmethod
    def of_job(cls, ref: JobRef, result: WatchResult | None = None) -> Self:
        """Return the case of a watched job.

        Args:
            ref: The job.
            result: How its watch ended; None before.
        """
        case = cls(name=str(ref), group=ref.kind.value)
        if result is None:
            return case
        error = result.error
        ended = evolve(case, outcome=outcome(error), seconds=result.elapsed, verdict="passed")
        if error is None:
            return ended
        verdict: Verdict = "failure" if isinstance(error, JobFailedError) else "error"
        return evolve(ended, reason=reason_of(error), verdict=verdict)

    @classmethod
    def of_release(cls, image_id: int, result: ReleaseResult | None = None) -> Self:
        """Return the case of an image.

        Args:
            image_id: The image.
            result: How its release ended; None before.
        """
        case = cls(name=f"image {image_id}", group="release")
        if result is None:
            return case
        ended = evolve(case, outcome=result.outcome, seconds=result.elapsed)
        if result.outcome == "held":
            return evolve(ended, reason="waits for an approval")
        if result.ok or result.error is None:
            return evolve(ended, verdict="passed")
        verdict: Verdict = "failure" if exit_status(result.error) == JOB_FAILED else "error"
        return evolve(ended, reason=describe_release_error(result.error), verdict=verdict)


class CaseOutput(Output):
    """Collects the cases of a command.

    Args:
        cases: All cases, unfinished.
        command: The command.
    """

    def __init__(self, cases: Sequence[Case], command: str) -> None:
        self._cases = {case.name: case for case in cases}
        self._command = command

    def result(self, result: WatchResult) -> None:
        """Add the result of a watch."""
        self.add(Case.of_job(result.ref, result))

    def release_result(self, result: ReleaseResult) -> None:
        """Add how a release ended."""
        self.add(Case.of_release(result.image_id, result))

    def add(self, case: Case) -> None:
        """Add a case that has ended."""
        self._cases[case.name] = case
