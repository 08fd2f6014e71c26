"""The server's jobs: each with its account and runs, and the store of all."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

import attrs
from attrs import define, field

from clanforge_async.jobs import ImageDiffDetails, ImageDiffJob, ImageVersionJob, JobState
from clanforge_async.refs import JobKind, JobRef
from clanforge_async.simulator.errors import RequestRefusedError
from clanforge_async.simulator.payloads import Listing, Quirks
from clanforge_async.simulator.runs import latest_change, make_schedule, snapshot
from clanforge_async.simulator.states import with_completion

if TYPE_CHECKING:
    from clanforge_async.simulator.auth import Account
    from clanforge_async.simulator.runs import Run, RunSchedule


_RETRIABLE = {JobState.COMPLETED, JobState.FAILED}


@define(eq=False, kw_only=True)
class JobRecord:
    """A job over all its runs.

    Attributes:
        ref: Its kind and id.
        account: The account that it belongs to.
        seed: The seed of all that is drawn at random for its runs.
        speed: The divisor of its durations.
        runs: The runs that were asked for, in order. Any further run is like the first and completes.
        failures: Number of failures before the first run.
        quirks: The way in which it is written as JSON.
        listing: The files that an image diff lists once completed.
        details: The objects that an image diff compares.
        locked_by: The id of the image diff that locks its image, if any.
        schedules: The schedules of its runs so far, the latest last.
    """

    ref: JobRef
    account: Account
    seed: str
    speed: float
    runs: tuple[Run, ...]
    failures: int = 0
    quirks: Quirks = field(factory=Quirks)
    listing: Listing = field(factory=Listing)
    details: ImageDiffDetails | None = None
    locked_by: int | None = None
    schedules: list[RunSchedule] = field(factory=list["RunSchedule"])

    def start_run(self, now: float) -> None:
        """Create the next run."""
        number = len(self.schedules)
        previous = self.schedules[-1] if self.schedules else None
        schedule = make_schedule(
            self.runs[number] if number < len(self.runs) else self._completing_run(),
            random.Random(f"{self.seed}/{number}"),  # noqa: S311 - repeatable by design
            created=now,
            speed=self.speed,
            failures=previous.failures + (previous.outcome is JobState.FAILED) if previous else self.failures,
            not_before=max(math.floor(now), _last_update(previous) + 1) if previous else None,
        )
        self.schedules.append(schedule)

    def since_retry(self, now: float) -> float | None:
        """Return the seconds since the latest retry; None if there was none."""
        return now - self.schedules[-1].created if len(self.schedules) > 1 else None

    def retry(self, now: float) -> None:
        """Start the next run if the server's rules allow it.

        Raises:
            RequestRefusedError: 400 for a diff that has neither completed nor failed (the image diff retry page asks
                for one of the two); 200 for a diff whose image is locked.
        """
        state = latest_change(self.schedules[-1], now).state
        if state not in _RETRIABLE:
            message = f"diff {self.ref.id} is {state.name.lower()}: only a completed or failed one can be retried"
            raise RequestRefusedError(400, message)
        if self.locked_by is not None:
            raise RequestRefusedError(200, f"image locked by diffid: {self.locked_by}", code=1)
        self.start_run(now)

    def to_payload(self, now: float, *, previous_run: bool = False, details: bool = False) -> dict[str, Any]:
        """Return the job as the server writes it.

        Args:
            now: The server's time, in Unix seconds.
            previous_run: Show the run before the latest, if there is one.
            details: Include the objects that an image diff compares.
        """
        schedule = self.schedules[-2] if previous_run and len(self.schedules) > 1 else self.schedules[-1]
        if self.ref.kind is JobKind.IMAGE_VERSION:
            return self.quirks.write(snapshot(schedule, ImageVersionJob, self.ref.id, now))
        job = snapshot(schedule, ImageDiffJob, self.ref.id, now)
        if job.is_completed:
            job = attrs.evolve(job, **attrs.asdict(self.listing, recurse=False))
        return self.quirks.write(attrs.evolve(job, details=self.details if details else None))

    def _completing_run(self) -> Run:
        first = self.runs[0]
        if first.states is None:
            return attrs.evolve(first, outcome="completed")
        return attrs.evolve(first, states=with_completion(first.states))


def _last_update(schedule: RunSchedule) -> int:
    return max(math.floor(schedule.ended), schedule.not_before)


@define(eq=False)
class JobStore:
    """All jobs, and the accounts that they belong to.

    Attributes:
        accounts: All accounts.
        records: All jobs by reference, without ``newer_than``.
    """

    accounts: tuple[Account, ...]
    records: dict[JobRef, JobRecord] = field(factory=dict[JobRef, "JobRecord"])

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
