"""The simulated service: what a test or a demo sets up and asks for the truth."""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING, Any

import httpx

from clanforge_async.auth import AccessKeyAuth, BearerTokenAuth
from clanforge_async.client import ClanforgeClient
from clanforge_async.jobs import Job
from clanforge_async.refs import JobRef
from clanforge_async.simulator.app import make_app
from clanforge_async.simulator.auth import DEMO_ACCOUNT, Account
from clanforge_async.simulator.fault_injection import Faults
from clanforge_async.simulator.jobs import JobRecord, JobStore
from clanforge_async.simulator.payloads import Listing, Quirks, draw_details
from clanforge_async.simulator.requests import RequestLog
from clanforge_async.simulator.runs import Outcome, Run, RunOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Unpack

    from starlette.types import ASGIApp


class Simulator:
    """A simulated Clanforge. Jobs run by its clock from the moment they are added.

    Two simulators with the same seed, clock and jobs answer alike, in whatever order the jobs were added.

    Attributes:
        app: The ASGI app that serves it.
        faults: What goes wrong; nothing until something is added.
        requests: What was asked of it.
        clock: Tells its time, in Unix seconds. Each answer's ``Date`` and each timestamp come from it.
        speed: What the durations of jobs are divided by.
        accounts: Who may call.
    """

    def __init__(
        self,
        speed: float = 1.0,
        seed: int = 0,
        accounts: Sequence[Account] = (DEMO_ACCOUNT,),
        clock: Callable[[], float] = time.time,
        *,
        quirks: bool = False,
    ) -> None:
        """Set up a service without jobs.

        Args:
            speed: How many seconds of a job pass in one second of the clock.
            seed: What everything left to chance is drawn from.
            accounts: Who may call; jobs belong to the first unless they are added for another.
            clock: The server's time in Unix seconds; one that is ahead of the client's makes a skewed server.
            quirks: Whether jobs are written with `Quirks` drawn for each, instead of as the vendor's pages show.

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
        self.clock = clock
        self.faults: Faults = Faults(seed)
        self.requests: RequestLog = RequestLog()
        self._seed = seed
        self._quirks = quirks
        self._jobs = JobStore(self.accounts)
        self.app: ASGIApp = make_app(self._jobs, self.faults, self.requests, clock)

    def add_image_version(
        self,
        id: int,  # noqa: A002 - what it is called everywhere else
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
        """Create an image version job, now.

        Args:
            id: Its id.
            states: What it passes through, such as ``created,running:40,failed``; see `Run`. Then it needs no
                ``duration`` and ``outcome``.
            duration: Seconds that it takes to complete once it runs, divided by the simulator's speed.
            outcome: How it ends.
            queued_for: Seconds that it waits before it runs, divided likewise.
            failures: How often it has failed before.
            account: Whose it is; None: the first account's.
            quirks: How it is written; None: as the simulator's ``quirks`` say.
            **options: What else of a `Run` is not to be left to chance.

        Raises:
            ValueError: There is one of this id, the account is not the simulator's, or a run cannot be as it is
                described.
        """
        run = Run(states=states, duration=duration, outcome=outcome, queued_for=queued_for, **options)
        return self._add(JobRef.image_version(id), (run,), account, quirks, failures=failures)

    def add_image_diff(
        self,
        id: int,  # noqa: A002 - what it is called everywhere else
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
        """Create an image diff job, now.

        Args:
            id: Its id.
            states: What it passes through, such as ``created,running:40,failed``; see `Run`. Then it needs no
                ``duration`` and ``outcome``.
            duration: Seconds that it takes to complete once it runs, divided by the simulator's speed.
            outcome: How it ends.
            queued_for: Seconds that it waits before it runs, divided likewise.
            retries: What the runs are to be like that retries begin, in their order; a text gives the states of one.
                Beyond them a run is like the first, and completes.
            locked_by: The id of a diff that locks its image: a retry is answered by an error envelope with status 200.
            listing: The files that it lists once it has completed; None: a few, drawn by chance.
            failures: How often it has failed before.
            account: Whose it is; None: the first account's.
            quirks: How it is written; None: as the simulator's ``quirks`` say.
            **options: What else of its first `Run` is not to be left to chance.

        Raises:
            ValueError: There is one of this id, the account is not the simulator's, or a run cannot be as it is
                described.
        """
        run = Run(states=states, duration=duration, outcome=outcome, queued_for=queued_for, **options)
        ref = JobRef.image_diff(id)
        rng = self._rng(ref, "findings")
        drawn, details = Listing.drawn(rng), draw_details(rng)
        later = (Run(states=run) if isinstance(run, str) else run for run in retries)
        found = {"listing": drawn if listing is None else listing, "details": details, "locked_by": locked_by}
        return self._add(ref, (run, *later), account, quirks, failures=failures, **found)

    def client(self, account: Account | None = None, **options: Any) -> ClanforgeClient:
        """Return a client that calls the app in process.

        Args:
            account: As whom it calls; None: as the first account.
            **options: Arguments of `ClanforgeClient` beside the credentials.
        """
        caller = account or self.accounts[0]
        keys = caller.access_key, caller.secret_key
        auth = AccessKeyAuth(*keys) if any(keys) else BearerTokenAuth(caller.token)
        usual: dict[str, Any] = {
            "account_service_id": caller.account_service_id,
            "transport": httpx.ASGITransport(app=self.app),
        }
        return ClanforgeClient(auth, **(usual | options))

    def created_at(self, target: JobRef | Job | int) -> float:
        """Return when the latest run of a job was created, in Unix seconds of the server's clock.

        That is when the job was added or last retried. Arguments and errors are those of `ended_at`.
        """
        return self._record(target).schedules[-1].created

    def ended_at(self, target: JobRef | Job | int) -> float:
        """Return when the latest run of a job ended or will end, in Unix seconds of the server's clock.

        It is infinite for one that never does.

        Args:
            target: The job. A bare id will do where only one job has it.

        Raises:
            LookupError: There is no such job, or more than one.
        """
        return self._record(target).schedules[-1].ended

    def retries_of(self, target: JobRef | Job | int) -> int:
        """Return how many retries of a job were carried out. Arguments and errors are those of `ended_at`."""
        return len(self._record(target).schedules) - 1

    def _add(
        self, ref: JobRef, runs: tuple[Run, ...], account: Account | None, quirks: Quirks | None, **kept: Any
    ) -> JobRef:
        if ref in self._jobs.records:
            msg = f"there is a job {ref} already"
            raise ValueError(msg)
        account = account or self.accounts[0]
        if account not in self.accounts:
            msg = f"account {account.account_service_id} is not one of the simulator's"
            raise ValueError(msg)
        usual = Quirks.drawn(self._rng(ref, "habits")) if self._quirks else Quirks()
        record = JobRecord(
            ref=ref,
            account=account,
            seed=f"{self._seed}/{ref}",
            speed=self.speed,
            runs=runs,
            quirks=quirks or usual,
            **kept,
        )
        record.start_run(self.clock())
        self._jobs.records[ref] = record
        return ref

    def _rng(self, ref: JobRef, what: str) -> random.Random:
        return random.Random(f"{self._seed}/{ref}/{what}")  # noqa: S311 - it is to be the same every time

    def _record(self, target: JobRef | Job | int) -> JobRecord:
        if isinstance(target, int):
            found = [record for record in self._jobs.records.values() if record.ref.id == target]
        else:
            record = self._jobs.find(target.kind, target.id)
            found = [] if record is None else [record]
        if len(found) != 1:
            msg = f"{len(found)} jobs are called {target!r}"
            raise LookupError(msg)
        return found[0]
