"""Client, watcher, network and simulator on one virtual clock, driven from outside a little at a time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from attrs import define
from properties.model.attempts import Attempt, assert_acted_well
from properties.model.endings import Circumstances, assert_ended_well
from properties.model.network import Network
from properties.model.truth import Subject
from properties.model.watches import Form, Party, Watch, glance
from support.scripted_server import START

from clanforge_async import ClanforgeClient, Job, JobRef, JobWatcher
from clanforge_async._polling.strategy import Interval
from clanforge_async.simulator import DEMO_ACCOUNT, Fault, Simulator
from clanforge_async.testing import VirtualTimeLoop

T = TypeVar("T")

_TURNS = 20
"""Turns of the loop in which all that a moment brings has come to those who wait for it."""


@define(kw_only=True)
class Settings:
    """What a client and its watchers are told, and what kind of server they meet."""

    max_rate: float | None
    max_concurrency: int
    max_retries: int
    interval: Interval
    outage_tolerance: float
    stale_after: float
    skew: float
    quirks: bool


class World:
    """Everything there is: what the machine's rules act upon and its invariants look at."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.loop = VirtualTimeLoop()
        self.complaints: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.complaints.append(context))
        self.simulator = Simulator(clock=lambda: START + settings.skew + self.loop.time(), quirks=settings.quirks)
        self.network = Network(self.simulator)
        self.subjects: list[Subject] = []
        self.attempts: list[Attempt] = []
        self.parties: list[Party] = []
        self.circumstances = Circumstances(
            faults=set(),
            server_ahead=START + settings.skew,
            calm_since=-math.inf,
            seconds_per_request=1 / settings.max_rate if settings.max_rate else 0.0,
            crowd=0,
            outage_tolerance=settings.outage_tolerance,
            stale_after=settings.stale_after,
            closed_at={},
        )
        self.seen: list[tuple[Subject, Job, int]] = []
        self.client = self.do(self._open_client())
        self.watcher = self.do(self._open_watcher())

    def do(self, action: Coroutine[Any, Any, T]) -> T:
        """Let a coroutine run to its end, and everything else meanwhile."""
        return self.loop.run_until_complete(action)

    def pass_time(self, seconds: float) -> None:
        """Let so many seconds pass, and see what has ended."""
        self.do(asyncio.sleep(seconds))
        for _ in range(_TURNS):
            self.do(asyncio.sleep(0))
        self.see()

    def see(self) -> None:
        """Hold of everything that is over by now what has to hold of it."""
        self.circumstances.crowd = max(self.circumstances.crowd, len(self.subjects) + len(self.attempts))
        for subject in self.subjects:
            subject.take_note(self.loop.time())
        for attempts in [self._attempts_on(subject) for subject in self.subjects]:
            if attempts and all(each.is_settled(self.network) for each in attempts):
                assert_acted_well(attempts, self.network)
                self.attempts = [each for each in self.attempts if each not in attempts]
        for party in [each for each in self.parties if each.task.done()]:
            assert_ended_well(party, self.network, self.circumstances)
            self._remember(party)
            self.parties.remove(party)

    def break_down(self, fault: Fault, **when: Any) -> None:
        """Switch a fault on."""
        self.circumstances.faults.add(type(fault).__name__)
        self.circumstances.calm_since = None
        self.simulator.faults.add(fault, **when)

    def refuse(self, connections: int) -> None:
        """Refuse the next connections."""
        if connections:
            self.circumstances.faults.add("refused")
            self.circumstances.calm_since = None
            self.network.refusing = connections

    def mend(self) -> None:
        """Switch all faults off."""
        self.simulator.faults.clear()
        self.network.refusing = 0
        if self.circumstances.calm_since is None:
            self.circumstances.calm_since = self.loop.time()

    def outlast(self, subject: Subject) -> None:
        """Let time pass until a job's last run is over."""
        if not subject.has_ended():
            self.pass_time(self.simulator.ended_at(subject.ref) - self.simulator.clock() + 0.01)

    def retry(self, subject: Subject) -> Attempt:
        """Have somebody retry a diff."""
        others = self._attempts_on(subject)
        attempt = Attempt(subject, others=len(others))
        for other in others:
            other.others += 1
        attempt.task = self.loop.create_task(attempt.make(self.client, self.network))
        self.attempts.append(attempt)
        self.pass_time(0)
        return attempt

    def watch(self, form: Form, targets: Iterable[tuple[Subject, JobRef | Job, int]], seconds: float | None) -> None:
        """Have somebody watch jobs, each by a target that lets the watch end with a run of at least that number."""
        watches = [Watch(*target, timeout=seconds, began=self.loop.time()) for target in targets]
        task = self.loop.create_task(_waiting(form, self.watcher, watches))
        self.parties.append(Party(watches, self.watcher, task, leaves=form is glance))
        self.pass_time(0)

    def close_watcher(self) -> list[Watch]:
        """Close the watcher, open another, and return the watches that were under way."""
        closing = self.watcher
        abandoned = [watch for party in self.parties for watch in party.watches if not watch.endings]
        self.circumstances.closed_at[closing] = self.loop.time()
        self.do(closing.aclose())
        self.watcher = self.do(self._open_watcher())
        self.pass_time(0)
        assert not any(party.watcher is closing for party in self.parties), "somebody waits on a closed watcher"
        return abandoned

    def close(self) -> None:
        """Cancel what is left, and close the loop."""
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def _remember(self, party: Party) -> None:
        for watch in party.watches:
            self.seen += [(watch.subject, job, watch.first_run) for job in watch.updates[-1:]]

    def _attempts_on(self, subject: Subject) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.subject is subject]

    async def _open_client(self) -> ClanforgeClient:
        return ClanforgeClient(
            (DEMO_ACCOUNT.access_key, DEMO_ACCOUNT.secret_key),
            account_service_id=DEMO_ACCOUNT.account_service_id,
            max_rate=self.settings.max_rate,
            max_concurrency=self.settings.max_concurrency,
            max_retries=self.settings.max_retries,
            transport=self.network,
        )

    async def _open_watcher(self) -> JobWatcher:
        return JobWatcher(
            self.client,
            interval=self.settings.interval,
            outage_tolerance=self.settings.outage_tolerance,
            stale_after=self.settings.stale_after,
        )


async def _waiting(form: Form, watcher: JobWatcher, watches: list[Watch]) -> None:
    await form(watcher, watches)
