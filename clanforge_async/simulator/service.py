"""The simulated service: tests and demos add jobs, and compare their results with its records."""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING, Any

import httpx

from clanforge_async import AccessKeyAuth, BearerTokenAuth
from clanforge_async.client import ClanforgeClient
from clanforge_async.jobs import Job
from clanforge_async.refs import JobRef
from clanforge_async.simulator.app import make_app
from clanforge_async.simulator.auth import DEMO_ACCOUNT, Account
from clanforge_async.simulator.fault_injection import Faults
from clanforge_async.simulator.jobs import JobRecord, JobStore
from clanforge_async.simulator.payloads import Listing, Quirks, random_details
from clanforge_async.simulator.pipeline_setup import PipelineSetup, as_run
from clanforge_async.simulator.requests import RequestLog
from clanforge_async.simulator.runs import Outcome, Run, RunOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Unpack

    from starlette.types import ASGIApp

    from clanforge_async.simulator.policies import Policies


class Simulator(PipelineSetup):
    """A simulated Clanforge API. Jobs progress with its clock from the moment they are added.

    Simulators with the same seed, clock and jobs give the same responses, regardless of the order in which the jobs
    were added.

    Attributes:
        app: The ASGI app.
        faults: The faults to inject; initially none.
        requests: The log of requests.
        clock: Returns its time in Unix seconds. Each response's ``Date`` and each timestamp come from it.
        speed: The divisor of the jobs' durations.
        accounts: The accounts that may call.
        builds: The files that an update pulls, by its source without secrets and its description.
    """

    def __init__(
        self,
        speed: float = 1.0,
        seed: int = 0,
        accounts: Sequence[Account] = (DEMO_ACCOUNT,),
        clock: Callable[[], float] = time.time,
        *,
        quirks: bool = False,
        policies: Policies | None = None,
    ) -> None:
        """Create a simulator without jobs.

        Args:
            speed: Speed factor: 60 makes a job's hour pass in one minute of the clock.
            seed: The seed of all random choices.
            accounts: The accounts that may call. Jobs belong to the first by default.
            clock: Returns the server's time in Unix seconds. Pass a shifted clock to simulate clock skew.
            quirks: Whether each job is written with `Quirks` drawn at random, instead of as documented by the vendor.
            policies: The choice for each rule that the vendor's pages leave open; None: the defaults of `Policies`.

        Raises:
            ValueError: There is no account, or the speed is not a positive number.
        """
        if not accounts:
            msg = "a simulator needs an account"
            raise ValueError(msg)
        if not 0 < speed < math.inf:
            msg = f"speed must be a positive number, not {speed}"
            raise ValueError(msg)
        self.speed = speed
        self.accounts: tuple[Account, ...] = tuple(accounts)
        self.faults: Faults = Faults(seed)
        self.requests: RequestLog = RequestLog()
        jobs = JobStore(self.accounts)
        super().__init__(jobs, clock, speed=speed, seed=seed, quirks=quirks, policies=policies)
        self.app: ASGIApp = make_app(jobs, self._pipeline, self.faults, self.requests, clock)

    def add_image_version(
        self,
        id: int,  # noqa: A002 - its name everywhere else
        *,
        states: str | None = None,
        duration: float | None = None,
        outcome: Outcome = "completed",
        queued_for: float = 0.0,
        failures: int = 0,
        account: Account | None = None,
        quirks: Quirks | None = None,
        **options: Unpack[RunOptions],
    ) -> JobRef:
        """Add an image version job that is created now.

        Args:
            id: The job's id.
            states: Its states, such as ``created,running:40,failed``, in place of ``duration``, ``outcome`` and
                ``queued_for``; see `Run`.
            duration: Seconds in Running if it completes, divided by the simulator's speed.
            outcome: The result of the run.
            queued_for: Seconds before Running, also divided by the speed.
            failures: Number of earlier failures.
            account: The account that it belongs to; None: the first.
            quirks: The quirks of its JSON; None: drawn at random or none, by the simulator's ``quirks``.
            **options: Further `Run` fields; the rest is drawn from the seed.

        Raises:
            ValueError: The job exists, the account is not one of the simulator's, or a `Run` is invalid.
        """
        run = Run(states=states, duration=duration, outcome=outcome, queued_for=queued_for, **options)
        return self._add(JobRef.image_version(id), (run,), account, quirks, failures=failures)

    def add_image_diff(
        self,
        id: int,  # noqa: A002 - its name everywhere else
        *,
        states: str | None = None,
        duration: float | None = None,
        outcome: Outcome = "completed",
        queued_for: float = 0.0,
        retries: Sequence[Run | str] = (),
        locked_by: int | None = None,
        listing: Listing | None = None,
        failures: int = 0,
        account: Account | None = None,
        quirks: Quirks | None = None,
        **options: Unpack[RunOptions],
    ) -> JobRef:
        """Add an image diff job that is created now.

        Args:
            id: The job's id.
            states: Its states, such as ``created,running:40,failed``, in place of ``duration``, ``outcome`` and
                ``queued_for``; see `Run`.
            duration: Seconds in Running if it completes, divided by the simulator's speed.
            outcome: The result of the run.
            queued_for: Seconds before Running, also divided by the speed.
            retries: The runs that retries start, in order, each a `Run` or its states as text. Any further run is
                like the first and completes.
            locked_by: The id of a diff that locks its image, so that the response to a retry is an error envelope
                and status 200.
            listing: The files that it lists once completed; None: a few drawn at random.
            failures: Number of earlier failures.
            account: The account that it belongs to; None: the first.
            quirks: The quirks of its JSON; None: drawn at random or none, by the simulator's ``quirks``.
            **options: Further fields of its first `Run`; the rest is drawn from the seed.

        Raises:
            ValueError: The job exists, the account is not one of the simulator's, or a `Run` is invalid.
        """
        run = Run(states=states, duration=duration, outcome=outcome, queued_for=queued_for, **options)
        ref = JobRef.image_diff(id)
        rng = self._rng(ref, "findings")
        random_listing, details = Listing.random(rng), random_details(rng)
        runs = (run, *map(as_run, retries))
        return self._add(
            ref,
            runs,
            account,
            quirks,
            failures=failures,
            listing=random_listing if listing is None else listing,
            details=details,
            locked_by=locked_by,
        )

    def add_image_update(
        self,
        id: int,  # noqa: A002 - its name everywhere else
        *,
        states: str | None = None,
        duration: float | None = None,
        outcome: Outcome = "completed",
        queued_for: float = 0.0,
        retries: Sequence[Run | str] = (),
        failures: int = 0,
        account: Account | None = None,
        quirks: Quirks | None = None,
        **options: Unpack[RunOptions],
    ) -> JobRef:
        """Add an image update job that is created now and changes no image.

        Arguments and errors are as for `add_image_diff`.
        """
        run = Run(states=states, duration=duration, outcome=outcome, queued_for=queued_for, **options)
        runs = (run, *map(as_run, retries))
        return self._add(JobRef.image_update(id), runs, account, quirks, failures=failures)

    def client(self, account: Account | None = None, **options: Any) -> ClanforgeClient:
        """Return a client that calls the app in process.

        Args:
            account: The account whose credentials it uses; None: the first.
            **options: Further arguments of `ClanforgeClient`.
        """
        account = account or self.accounts[0]
        keys = account.access_key, account.secret_key
        auth = AccessKeyAuth(*keys) if any(keys) else BearerTokenAuth(account.token)
        defaults: dict[str, Any] = {
            "account_service_id": account.account_service_id,
            "transport": httpx.ASGITransport(app=self.app),
        }
        return ClanforgeClient(auth, **(defaults | options))

    def created_at(self, target: JobRef | Job | int) -> float:
        """Return the time at which a job's latest run was created, in Unix seconds of the server's clock.

        That is the time of its latest retry; without a retry, the time at which it was added. Arguments and errors are
        as for `ended_at`.
        """
        return self._record(target).schedules[-1].created

    def ended_at(self, target: JobRef | Job | int) -> float:
        """Return the time at which a job's latest run ended or will end, in Unix seconds of the server's clock.

        It is infinite if the run never ends.

        Args:
            target: The job, or its id if that is unique among all kinds of jobs.

        Raises:
            LookupError: There is no such job, or more than one.
        """
        return self._record(target).schedules[-1].ended

    def retries_of(self, target: JobRef | Job | int) -> int:
        """Return how often a job was retried. Arguments and errors are as for `ended_at`."""
        return len(self._record(target).schedules) - 1

    def _add(
        self, ref: JobRef, runs: tuple[Run, ...], account: Account | None, quirks: Quirks | None, **fields: Any
    ) -> JobRef:
        if ref in self._jobs.records:
            msg = f"job {ref} already exists"
            raise ValueError(msg)
        account = self._account(account)
        record = JobRecord(
            ref=ref,
            account=account,
            seed=f"{self._seed}/{ref}",
            speed=self.speed,
            runs=runs,
            quirks=quirks or self._tasks.random_quirks(f"{self._seed}/{ref}"),
            **fields,
        )
        record.start_run(self.clock())
        self._jobs.records[ref] = record
        return ref

    def _rng(self, ref: JobRef, purpose: str) -> random.Random:
        # A purpose is part of the seed: renaming it would change the results of existing seeds.
        return random.Random(f"{self._seed}/{ref}/{purpose}")  # noqa: S311 - repeatable by design

    def _record(self, target: JobRef | Job | int) -> JobRecord:
        if isinstance(target, int):
            found = [record for record in self._jobs.records.values() if record.ref.id == target]
        else:
            record = self._jobs.find(target.kind, target.id)
            found = [] if record is None else [record]
        if len(found) != 1:
            msg = f"{len(found)} jobs match {target!r}"
            raise LookupError(msg)
        return found[0]
