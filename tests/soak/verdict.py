"""Whether every watch has ended as it had to: what the client wrote down, held against what the server did."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from attrs import define, field

from clanforge_async import JobKind, JobRef, JobState
from clanforge_async.simulator import Outcome, Simulator
from soak.endings import Ending
from soak.journal import Breakdown, Retry
from soak.kinds import KINDS
from soak.schedule import Target

STALE_AFTER = 15.0
"""Seconds without news of a retry after which a watch gives up."""

_ERRORS: dict[Outcome, str] = {"completed": "", "failed": "JobFailedError", "squashed": "JobSquashedError"}
_REFUSALS = {kind.name: (kind.ends_watch, kind.status) for kind in KINDS if kind.ends_watch is not None}


def _path(ref: JobRef) -> str:
    return f"/cfp/v1/{ref.kind.replace('-', '')}/{ref.id}/status"


@define
class Verdict:
    """What was wrong, and what it was found on.

    Attributes:
        wrong: What was wrong, in words.
        notices: Seconds from each job's end, or from the watch's beginning if that came later, to the watch's end.
        refused: How many watches ended because of a refusal.
        doubts: How many retries were watched for without news.
        polls: How many polls there were.
    """

    wrong: list[str] = field(factory=list[str])
    notices: list[float] = field(factory=list[float])
    refused: int = 0
    doubts: int = 0
    polls: int = 0


class Judge:
    """Knows the truth.

    Args:
        simulator: The server's jobs as they are at the end.
        retries: What the server carried out.
        breakdowns: What befell requests.
    """

    def __init__(self, simulator: Simulator, retries: Iterable[Retry], breakdowns: Iterable[Breakdown]) -> None:
        self._simulator = simulator
        self._retried_at: dict[int, list[float]] = defaultdict(list)
        for retry in retries:
            self._retried_at[retry.diff_id].append(retry.at)
        self._refusals = Counter(
            (each.path, *_REFUSALS[each.kind]) for each in breakdowns if each.kind in _REFUSALS
        )

    def judge(self, targets: Iterable[Target], endings: Iterable[Ending]) -> Verdict:
        """Hold every ending against the truth, and see that each target has the one that it is to have."""
        verdict = Verdict()
        due = {target.ref: target for target in targets}
        for ending in endings:
            verdict.polls += ending.polls
            parsed = JobRef.parse(ending.ref)
            ref = JobRef(parsed.kind, parsed.id)
            if not ending.shows_end:
                self._judge_without_end(verdict, ref, ending)
            elif (target := due.pop(ref, None)) is None:
                verdict.wrong.append(f"{ref} has ended twice")
            else:
                verdict.wrong += self._wrong_with(target, ending)
                verdict.notices.append(ending.at - max(ending.began, self._simulator.ended_at(ref)))
        verdict.wrong += [f"the end of {ref} was never seen" for ref in due]
        return verdict

    def _judge_without_end(self, verdict: Verdict, ref: JobRef, ending: Ending) -> None:
        refusal = _path(ref), ending.error, ending.status
        if self._refusals[refusal] > 0:
            self._refusals[refusal] -= 1
            verdict.refused += 1
        elif ending.error == "StaleJobError" and not self._has_been_news(ref, ending.at - STALE_AFTER):
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
