"""Checks all watches: the client's records against the server's actual state."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from attrs import define, field

from clanforge_async import JobKind, JobRef, JobState
from clanforge_async.simulator import Outcome, Simulator
from soak.fault_kinds import all_fault_kinds
from soak.records import FaultRecord, RetryRecord, WatchRecord
from soak.schedule import ScheduledJob

_ERRORS: dict[Outcome, str] = {"completed": "", "failed": "JobFailedError", "squashed": "JobSquashedError"}
_WATCH_ERRORS = {
    kind.name: (kind.watch_error, kind.status) for kind in all_fault_kinds(1.0) if kind.watch_error is not None
}


def _base_ref(record: WatchRecord) -> JobRef:
    ref = JobRef.parse(record.ref)
    return JobRef(ref.kind, ref.id)


def _status_path(ref: JobRef) -> str:
    return f"/cfp/v1/{ref.kind.replace('-', '')}/{ref.id}/status"


@define
class CheckResult:
    """Problems found, and statistics of the checked watches.

    Attributes:
        problems: Descriptions of the problems.
        ended: Jobs whose end a watch has returned.
        retried: Number of those jobs that were retried first.
        delays: Seconds from each job's end, or from the watch's start if later, to the watch's end.
        rejected: Number of watches ended by an API error.
        stale: Number of watches ended by a `StaleJobError`.
        polls: Number of polls.
        watches: Number of watches.
    """

    problems: list[str] = field(factory=list[str])
    ended: set[JobRef] = field(factory=set[JobRef])
    retried: int = 0
    delays: list[float] = field(factory=list[float])
    rejected: int = 0
    stale: int = 0
    polls: int = 0
    watches: int = 0


class Checker:
    """Checks records of watches.

    Args:
        simulator: The server's jobs in their final state.
        stale_after: The watcher's `stale_after`, in seconds.
        retries: Retries executed by the server.
        faults: Injected faults.
    """

    def __init__(
        self,
        simulator: Simulator,
        stale_after: float,
        retries: Iterable[RetryRecord],
        faults: Iterable[FaultRecord],
    ) -> None:
        self._simulator = simulator
        self._stale_after = stale_after
        self._retried_at: dict[int, list[float]] = defaultdict(list)
        for retry in retries:
            self._retried_at[retry.diff_id].append(retry.at)
        self._api_errors = Counter(
            (each.path, *_WATCH_ERRORS[each.kind]) for each in faults if each.kind in _WATCH_ERRORS
        )

    def check(self, jobs: Iterable[ScheduledJob], records: Iterable[WatchRecord]) -> CheckResult:
        """Check every record; the last watch of each job, and only that one, must return the job's end."""
        result = CheckResult()
        by_ref = {job.ref: job for job in jobs}
        not_ended: set[JobRef] = set()
        for record in records:
            result.polls += record.polls
            result.watches += 1
            ref = _base_ref(record)
            if ref in result.ended:
                result.problems.append(f"{ref} was watched again after its end")
            elif record.has_job_ended:
                not_ended.discard(ref)
                result.ended.add(ref)
                result.problems += self._problems_of(by_ref[ref], record)
                result.delays.append(record.ended_at - max(record.started_at, self._simulator.ended_at(ref)))
            else:
                not_ended.add(ref)
                self._check_error(result, ref, record)
        result.problems += [f"no watch returned the end of {ref}" for ref in not_ended]
        result.retried = sum(by_ref[ref].is_retried for ref in result.ended)
        return result

    def _check_error(self, result: CheckResult, ref: JobRef, record: WatchRecord) -> None:
        api_error = _status_path(ref), record.error, record.status
        if self._api_errors[api_error] > 0:
            self._api_errors[api_error] -= 1
            result.rejected += 1
        elif record.error == "StaleJobError" and not self._was_retried(ref, record.ended_at - self._stale_after):
            result.stale += 1
        else:
            result.problems.append(f"a watch of {ref} ended with {record.error} {record.status or ''} without a cause")
        if record.terminal_updates:
            result.problems.append(f"a watch of {ref} got a terminal update and ended with {record.error}")

    def _was_retried(self, ref: JobRef, before: float) -> bool:
        return any(at < before for at in self._retried_at[ref.id])

    def _problems_of(self, job: ScheduledJob, record: WatchRecord) -> Iterator[str]:
        job_ended_at = self._simulator.ended_at(job.ref)
        runs = len(self._retried_at[job.ref.id]) if job.ref.kind is JobKind.IMAGE_DIFF else 0
        outcome = job.outcome if runs <= 1 else "completed"  # the simulator's default for a run without a plan
        if (record.error, record.state) != (_ERRORS[outcome], JobState[outcome.upper()]):
            yield f"{record.ref} is {outcome}, but the watch returned state {record.state} ({record.error})"
        is_updated = record.updated_at is not None and abs(record.updated_at - job_ended_at) <= 1
        if not is_updated or record.ended_at < job_ended_at:
            yield (
                f"{record.ref} ended at {job_ended_at}, but its watch ended at {record.ended_at} "
                f"with a snapshot of {record.updated_at}"
            )
        if record.terminal_updates != 1 or not record.got_final_update:
            yield f"{record.ref} got {record.terminal_updates} terminal updates, or another one than its result"
        if job.is_retried and not 1 <= runs <= record.retries_requested:
            yield f"{record.ref} was retried {runs} times, but {record.retries_requested} retries were requested"
