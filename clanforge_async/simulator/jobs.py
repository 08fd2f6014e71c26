"""The server's jobs: each with its account and runs, and the store that holds them."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

import attrs
from attrs import define, field

from clanforge_async.jobs import ImageDiffDetails, ImageDiffJob, ImageVersionJob, JobState
from clanforge_async.refs import JobKind, JobRef
from clanforge_async.simulator.auth import identify
from clanforge_async.simulator.errors import RequestRefusedError
from clanforge_async.simulator.payloads import Listing, Quirks
from clanforge_async.simulator.requests import Route
from clanforge_async.simulator.runs import latest_change, make_schedule, snapshot
from clanforge_async.simulator.states import with_completion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clanforge_async.simulator.auth import Account
    from clanforge_async.simulator.runs import Run, RunSchedule


_RETRIABLE = {JobState.COMPLETED, JobState.FAILED}


@define(eq=False, kw_only=True)
class JobRecord:
    """One job: whose it is, how it is written, and its runs.

    Attributes:
        ref: Its kind and id.
        account: The account that it belongs to.
        seed: What all chance in it is drawn from.
        speed: What durations are divided by.
        script: What its runs are to be like, in their order.
        failures: How often it had failed before the first of them.
        quirks: How it is written.
        listing: What it finds, if it is an image diff.
        details: What it compares, if it is an image diff.
        locked_by: The image diff that locks its image, if one does.
        plans: Its runs so far, the latest last.
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
        """Begin the next run."""
        number = len(self.schedules)
        before = self.schedules[-1] if self.schedules else None
        schedule = make_schedule(
            self.runs[number] if number < len(self.runs) else self._completing_run(),
            random.Random(f"{self.seed}/{number}"),  # noqa: S311 - it is to be the same every time
            created=now,
            speed=self.speed,
            failures=before.failures + (before.outcome is JobState.FAILED) if before else self.failures,
            not_before=max(math.floor(now), _last_update(before) + 1) if before else None,
        )
        self.schedules.append(schedule)

    def since_retry(self, now: float) -> float | None:
        """Return the seconds since the latest retry, None if there was none."""
        return now - self.schedules[-1].created if len(self.schedules) > 1 else None

    def retry(self, now: float) -> None:
        """Begin the next run, if the server's rules allow it.

        Raises:
            RequestRefusedError: 400 for a diff that has neither completed nor failed (the image diff retry page asks
                for one of the two); 200 for one whose image is locked.
        """
        state = latest_change(self.schedules[-1], now).state
        if state not in _RETRIABLE:
            message = f"diff {self.ref.id} is {state.name.lower()}: only a completed or failed one can be retried"
            raise RequestRefusedError(400, message)
        if self.locked_by is not None:
            raise RequestRefusedError(200, f"image locked by diffid: {self.locked_by}", code=1)
        self.start_run(now)

    def wire(self, now: float, *, earlier: bool = False, details: bool = False) -> dict[str, Any]:
        """Return the job as the server writes it.

        Args:
            now: The moment.
            earlier: Show the run before the latest, if there is one.
            details: Show what an image diff compares.
        """
        schedule = self.schedules[-2] if earlier and len(self.schedules) > 1 else self.schedules[-1]
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
    """Jobs and the accounts that they belong to.

    Attributes:
        accounts: All accounts.
        records: All jobs; the references have no ``newer_than``.
    """

    accounts: tuple[Account, ...]
    records: dict[JobRef, JobRecord] = field(factory=dict[JobRef, "JobRecord"])

    def find(self, kind: JobKind, job_id: int | None) -> JobRecord | None:
        """Return a job, None where there is no such one."""
        return None if job_id is None else self.records.get(JobRef(kind, job_id))

    def answer(
        self,
        route: Route,
        job_id: int | None,
        now: float,
        *,
        authorization: str | None,
        parameters: Mapping[str, str],
        earlier: bool = False,
    ) -> dict[str, Any]:
        """Do what a request asks for, and return the answer's body.

        Raises:
            RequestRefusedError: The rules forbid it; see `identify` and `JobRecord.retry` for theirs. 404 for a job
                that there is not, 403 for one of another account.
        """
        account = identify(self.accounts, authorization, parameters.get("accountserviceid"))
        record = self.find(route.kind, job_id)
        if record is None:
            raise RequestRefusedError(404, "not found")
        if record.account != account:
            raise RequestRefusedError(403, "forbidden")
        if route is Route.IMAGE_DIFF_RETRY:
            record.retry(now)
            return record.wire(now, earlier=earlier)
        # "success" is on nearly every page but that of the image diff retry.
        return record.wire(now, earlier=earlier, details=parameters.get("diff_info") == "1") | {"success": True}
