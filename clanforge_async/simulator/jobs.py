"""The server's jobs with their accounts and runs, and the store of all jobs."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

import attrs
from attrs import define, field

from clanforge_async.jobs import ImageDiffDetails, ImageDiffJob, ImageUpdateJob, ImageVersionJob, Job, JobState
from clanforge_async.refs import JobKind, JobRef
from clanforge_async.simulator.errors import RequestRefusedError, locked
from clanforge_async.simulator.payloads import Listing, Quirks
from clanforge_async.simulator.runs import cut_short, latest_change, make_schedule, snapshot
from clanforge_async.simulator.states import with_completion

if TYPE_CHECKING:
    from clanforge_async.simulator.auth import Account
    from clanforge_async.simulator.runs import Run, RunSchedule


_FINISHED = {JobState.COMPLETED, JobState.FAILED}
_CLASSES: dict[JobKind, type[Job]] = {
    JobKind.IMAGE_UPDATE: ImageUpdateJob,
    JobKind.IMAGE_VERSION: ImageVersionJob,
}


@define(eq=False, kw_only=True)
class Task:
    """A task of the server, with all its runs.

    Attributes:
        id: Its id.
        seed: The seed of all random choices for its runs.
        speed: The divisor of its durations.
        runs: The requested runs in order. Any further run is like the first and completes.
        failures: Number of failures before the first run.
        quirks: Deviations of its JSON from the documentation.
        schedules: The schedules of its runs so far, the latest last.
    """

    id: int
    seed: str
    speed: float
    runs: tuple[Run, ...]
    failures: int = 0
    quirks: Quirks = field(factory=Quirks)
    schedules: list[RunSchedule] = field(factory=list["RunSchedule"])

    @property
    def schedule(self) -> RunSchedule:
        """The schedule of its latest run."""
        return self.schedules[-1]

    def state_at(self, now: float) -> JobState:
        """Return its state."""
        return latest_change(self.schedule, now).state

    def start_run(self, now: float, runs_from: float = 0.0) -> None:
        """Create the next run. It is not Running before ``runs_from``; its waiting time counts from now."""
        number = len(self.schedules)
        previous = self.schedules[-1] if self.schedules else None
        schedule = make_schedule(
            self.runs[number] if number < len(self.runs) else self._completing_run(),
            self.rng(number),
            created=now,
            speed=self.speed,
            failures=previous.failures + (previous.outcome is JobState.FAILED) if previous else self.failures,
            not_before=max(math.floor(now), _last_update(previous) + 1) if previous else None,
            runs_from=runs_from,
        )
        self.schedules.append(schedule)

    def end_now(self, state: JobState, now: float, error: str | None = None) -> None:
        """End the latest run, unless it has ended."""
        if not self.state_at(now).is_terminal:
            self.schedules[-1] = cut_short(self.schedule, state, now, error)

    def job_fields(self, now: float) -> dict[str, Any]:
        """Return the nine fields that every kind of job has in JSON, without an id."""
        payload = self.quirks.write(snapshot(self.schedule, ImageDiffJob, self.id, now))
        return {name: value for name, value in payload.items() if name.startswith("job")}

    def rng(self, number: int) -> random.Random:
        """Return the random number generator of a run."""
        return random.Random(f"{self.seed}/{number}")  # noqa: S311 - repeatable by design

    def _completing_run(self) -> Run:
        first = self.runs[0]
        if first.states is None:
            return attrs.evolve(first, outcome="completed")
        return attrs.evolve(first, states=with_completion(first.states))


@define(eq=False, kw_only=True)
class JobRecord(Task):
    """A job that can be read by its id.

    Attributes:
        ref: Its kind and id.
        account: The account that it belongs to.
        listing: The files that an image diff lists once completed.
        details: The objects that an image diff compares.
        locked_by: The id of the image diff that locks its image, if any.
    """

    id: int = field(init=False)
    ref: JobRef
    account: Account
    listing: Listing = field(factory=Listing)
    details: ImageDiffDetails | None = None
    locked_by: int | None = None

    def __attrs_post_init__(self) -> None:
        """Set the task's id to that of the reference."""
        self.id = self.ref.id

    def since_retry(self, now: float) -> float | None:
        """Return the seconds since the latest retry; None if there was none."""
        return now - self.schedule.created if len(self.schedules) > 1 else None

    def check_retry(self, now: float) -> None:
        """Check the rules for a retry of an image diff.

        Raises:
            RequestRefusedError: 400 for a diff that has neither completed nor failed (the image diff retry page
                requires one of the two); 200 for a diff whose image is locked.
        """
        self.check_finished(now, "can be retried")
        if self.locked_by is not None:
            raise locked(JobRef.image_diff(self.locked_by))

    def check_finished(self, now: float, purpose: str) -> None:
        """Check that the job has completed or failed.

        Raises:
            RequestRefusedError: 400 for any other state.
        """
        state = self.state_at(now)
        if state not in _FINISHED:
            message = f"diff {self.id} is {state.name.lower()}: only a completed or failed one {purpose}"
            raise RequestRefusedError(400, message)

    def to_payload(self, now: float, *, previous_run: bool = False, details: bool = False) -> dict[str, Any]:
        """Return the job as the server writes it.

        Args:
            now: The server's time, in Unix seconds.
            previous_run: Show the run before the latest, if there is one.
            details: Include the objects that an image diff compares.
        """
        schedule = self.schedules[-2] if previous_run and len(self.schedules) > 1 else self.schedule
        if self.ref.kind is not JobKind.IMAGE_DIFF:
            return self.quirks.write(snapshot(schedule, _CLASSES[self.ref.kind], self.id, now))
        job = snapshot(schedule, ImageDiffJob, self.id, now)
        payload = self.quirks.write(attrs.evolve(job, details=self.details if details else None))
        # Not through the codec, for speed: a listing can have 200,000 files.
        return payload | (self.quirks.write_listing(self.listing) if job.is_completed else {})


def _last_update(schedule: RunSchedule) -> int:
    return max(math.floor(schedule.ended), schedule.not_before)


@define(eq=False)
class JobStore:
    """All jobs and all accounts.

    Attributes:
        accounts: All accounts.
        records: All jobs by reference, without ``newer_than``.
    """

    accounts: tuple[Account, ...]
    records: dict[JobRef, JobRecord] = field(factory=dict[JobRef, "JobRecord"])
    _next_id: int = 218_000

    def new_id(self) -> int:
        """Return the id of a new job: the next number that no job of any kind has."""
        while any(JobRef(kind, self._next_id) in self.records for kind in JobKind):
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1

    def find(self, kind: JobKind, job_id: int | None) -> JobRecord | None:
        """Return a job; None if there is no such job."""
        return None if job_id is None else self.records.get(JobRef(kind, job_id))

    def get(self, kind: JobKind, job_id: int | None, account: Account) -> JobRecord:
        """Return a job of an account.

        Raises:
            RequestRefusedError: 404 for an unknown job, 403 for a job of another account.
        """
        record = self.find(kind, job_id)
        if record is None:
            raise RequestRefusedError(404, "not found")
        if record.account != account:
            raise RequestRefusedError(403, "forbidden")
        return record
