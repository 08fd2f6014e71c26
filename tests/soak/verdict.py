"""Whether every watch has ended as it had to: what the client wrote down, held against what the server did."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from attrs import define, field

from clanforge_async import JobKind, JobRef, JobState
from clanforge_async.simulator import Outcome, Simulator
from soak.endings import Ending
from soak.journal import Breakdown, Retry
from soak.kinds import every_kind
from soak.schedule import Target

_ERRORS: dict[Outcome, str] = {"completed": "", "failed": "JobFailedError", "squashed": "JobSquashedError"}
_REFUSALS = {kind.name: (kind.ends_watch, kind.status) for kind in every_kind(1.0) if kind.ends_watch is not None}


def _job(ending: Ending) -> JobRef:
    ref = JobRef.parse(ending.ref)
    return JobRef(ref.kind, ref.id)


def _path(ref: JobRef) -> str:
    return f"/cfp/v1/{ref.kind.replace('-', '')}/{ref.id}/status"


@define
class Verdict:
    """What was wrong, and what it was found on.

    Attributes:
        wrong: What was wrong, in words.
        seen: The jobs that were seen to end.
        retried: How many of these were retried first.
        notices: Seconds from each job's end, or from the watch's beginning if that came later, to the watch's end.
        refused: How many watches ended because of a refusal.
        doubts: How many retries were watched for without news.
        polls: How many polls there were.
        endings: How many watches have ended.
    """

    wrong: list[str] = field(factory=list[str])
    seen: set[JobRef] = field(factory=set[JobRef])
    retried: int = 0
    notices: list[float] = field(factory=list[float])
    refused: int = 0
    doubts: int = 0
    polls: int = 0
    endings: int = 0


class Judge:
    """Knows the truth.

    Args:
        simulator: The server's jobs as they are at the end.
        stale_after: Seconds without news of a retry after which a watch gives up.
        retries: What the server carried out.
        breakdowns: What befell requests.
    """

    def __init__(
        self,
        simulator: Simulator,
        stale_after: float,
        retries: Iterable[Retry],
        breakdowns: Iterable[Breakdown],
    ) -> None:
        self._simulator = simulator
        self._stale_after = stale_after
        self._retried_at: dict[int, list[float]] = defaultdict(list)
        for retry in retries:
            self._retried_at[retry.diff_id].append(retry.at)
        self._refusals = Counter((each.path, *_REFUSALS[each.kind]) for each in breakdowns if each.kind in _REFUSALS)

    def judge(self, targets: Iterable[Target], endings: Iterable[Ending]) -> Verdict:
        """Hold every ending against the truth; the last of each target, and only that, has to show its end."""
        verdict = Verdict()
        by_ref = {target.ref: target for target in targets}
        open_refs: set[JobRef] = set()
        for ending in endings:
            verdict.polls += ending.polls
            verdict.endings += 1
            ref = _job(ending)
            if ref in verdict.seen:
                verdict.wrong.append(f"{ref} was watched after its end")
            elif ending.shows_end:
                open_refs.discard(ref)
                verdict.seen.add(ref)
                verdict.wrong += self._wrong_with(by_ref[ref], ending)
                verdict.notices.append(ending.at - max(ending.began, self._simulator.ended_at(ref)))
            else:
                open_refs.add(ref)
                self._judge_without_end(verdict, ref, ending)
        verdict.wrong += [f"the end of {ref} was never seen" for ref in open_refs]
        verdict.retried = sum(by_ref[ref].is_retried for ref in verdict.seen)
        return verdict

    def _judge_without_end(self, verdict: Verdict, ref: JobRef, ending: Ending) -> None:
        refusal = _path(ref), ending.error, ending.status
        if self._refusals[refusal] > 0:
            self._refusals[refusal] -= 1
            verdict.refused += 1
        elif ending.error == "StaleJobError" and not self._has_been_news(ref, ending.at - self._stale_after):
            verdict.doubts += 1
        else:
            verdict.wrong.append(f"a watch of {ref} ended with {ending.error} {ending.status or ''}, for no reason")
        if ending.ends_told:
            verdict.wrong.append(f"a watch of {ref} told of an end and ended with {ending.error}")

    def _has_been_news(self, ref: JobRef, before: float) -> bool:
        return any(at < before for at in self._retried_at[ref.id])

    def _wrong_with(self, target: Target, ending: Ending) -> Iterator[str]:
        ended_at = self._simulator.ended_at(target.ref)
        runs = len(self._retried_at[target.ref.id]) if target.ref.kind is JobKind.IMAGE_DIFF else 0
        outcome = target.outcome if runs <= 1 else "completed"  # which is how a run ends that nobody has planned
        if (ending.error, ending.state) != (_ERRORS[outcome], JobState[outcome.upper()]):
            yield f"{ending.ref} is {outcome}, but was taken for {ending.state} ({ending.error})"
        if ending.updated_at is None or abs(ending.updated_at - ended_at) > 1 or ending.at < ended_at:
            yield f"{ending.ref} ended at {ended_at}; at {ending.at} it was taken for {ending.updated_at}"
        if ending.ends_told != 1 or not ending.has_told_last:
            yield f"{ending.ref} told of {ending.ends_told} ends, and ended with another"
        if target.is_retried and not 1 <= runs <= ending.retries:
            yield f"{ending.ref} was retried {runs} times, but asked for {ending.retries} times"
