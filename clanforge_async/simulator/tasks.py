"""Creation of the pipeline's tasks: their ids and their runs, scripted or random."""

from __future__ import annotations

import random
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Literal, TypeAlias

from clanforge_async.refs import JobKind, JobRef
from clanforge_async.simulator.jobs import JobRecord, Task
from clanforge_async.simulator.payloads import Quirks
from clanforge_async.simulator.runs import Run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clanforge_async.simulator.auth import Account
    from clanforge_async.simulator.jobs import JobStore

Scriptable: TypeAlias = Literal["update", "diff", "version", "install"]
"""A kind of task whose next runs can be scripted."""

_SCRIPTABLE: dict[JobKind, Scriptable] = {
    JobKind.IMAGE_UPDATE: "update",
    JobKind.IMAGE_DIFF: "diff",
    JobKind.IMAGE_VERSION: "version",
}
_DURATIONS = {"update": (12.0, 30.0), "diff": (5.0, 15.0), "version": (8.0, 20.0), "install": (6.0, 15.0)}
_UNINSTALL_DURATION = (3.0, 8.0)
_WAITING = (0.5, 3.0)


class TaskFactory:
    """Creates tasks. Their runs are the scripted ones in order; without a script they are drawn from a seed."""

    def __init__(self, jobs: JobStore, seed: object, speed: float, *, quirks: bool) -> None:
        self._jobs = jobs
        self._seed = seed
        self._speed = speed
        self._quirks = quirks
        self._scripts: dict[Scriptable, deque[Run]] = defaultdict(deque)

    def script(self, kind: Scriptable, runs: Iterable[Run]) -> None:
        """Add runs for the next tasks of a kind and their retries."""
        if kind not in _DURATIONS:
            msg = f"script one of {', '.join(_DURATIONS)}, not {kind!r}"
            raise ValueError(msg)
        self._scripts[kind].extend(runs)

    def new_job(self, kind: JobKind, account: Account, run: Run | None = None) -> JobRecord:
        """Create a job that can be read by its id, with the given run or the next scripted one."""
        job_id = self._jobs.new_id()
        seed = f"{self._seed}/{kind}/{job_id}"
        script = _SCRIPTABLE[kind]
        record = JobRecord(
            ref=JobRef(kind, job_id),
            account=account,
            seed=seed,
            speed=self._speed,
            runs=(run or self._scripted(script) or _random_run(_DURATIONS[script], seed),),
            quirks=self.random_quirks(seed),
        )
        self._jobs.records[record.ref] = record
        return record

    def new_install(self) -> Task:
        """Create the task of an install."""
        return self._new_task(self._scripted("install"), _DURATIONS["install"])

    def new_uninstall(self) -> Task:
        """Create the task that restores a build machine's files."""
        return self._new_task(None, _UNINSTALL_DURATION)

    def random_quirks(self, seed: str) -> Quirks:
        """Return random quirks for a job or an image, or none."""
        rng = random.Random(f"{seed}/habits")  # noqa: S311 - repeatable by design
        return Quirks.random(rng) if self._quirks else Quirks()

    def add_scripted_run(self, record: JobRecord) -> None:
        """Use the next scripted run, if any, as the next run of a job, unless the job has further runs itself."""
        if len(record.schedules) >= len(record.runs) and (run := self._scripted(_SCRIPTABLE[record.ref.kind])):
            record.runs = (*record.runs, run)

    def _new_task(self, scripted: Run | None, durations: tuple[float, float]) -> Task:
        job_id = self._jobs.new_id()
        seed = f"{self._seed}/task/{job_id}"
        return Task(
            id=job_id,
            seed=seed,
            speed=self._speed,
            runs=(scripted or _random_run(durations, seed),),
            quirks=self.random_quirks(seed),
        )

    def _scripted(self, kind: Scriptable) -> Run | None:
        runs = self._scripts[kind]
        return runs.popleft() if runs else None


def _random_run(durations: tuple[float, float], seed: str) -> Run:
    rng = random.Random(f"{seed}/run")  # noqa: S311 - repeatable by design
    return Run(duration=rng.uniform(*durations), queued_for=rng.uniform(*_WAITING))
