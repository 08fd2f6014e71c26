"""Client, watcher, network and simulator on one virtual clock, driven step by step."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

import httpx
from attrs import define
from properties.model.job_runs import TrackedJob
from properties.model.network import Misbehaviour, Network
from properties.model.retry_calls import RetryCall, assert_retry_count
from properties.model.third_parties import FilterError, RaisingFilter, TokenAuth
from properties.model.watch_groups import Watch, WatchGroup, WatchMethod, take_first_update
from properties.model.watch_results import Conditions, assert_correct_end
from support.scripted_server import START

from clanforge_async import ClanforgeClient, Job, JobRef, JobWatcher
from clanforge_async._polling.strategy import Interval
from clanforge_async.simulator import DEMO_ACCOUNT, Fault, Simulator
from clanforge_async.testing import VirtualTimeLoop

T = TypeVar("T")

_TURNS = 20
"""Turns of the loop after which everything that is due has run."""


@define(kw_only=True)
class Settings:
    """Settings of the client, its watchers and the server."""

    max_rate: float | None
    max_concurrency: int
    max_retries: int
    interval: Interval
    outage_tolerance: float
    stale_after: float
    skew: float
    quirks: bool
    is_third_party: bool
    dates: bool
    requests_per_token: float | None
    raising_filter: bool


class World:
    """The system under test: the machine's rules act on it, its invariants check it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.loop = VirtualTimeLoop()
        self.loop_errors: list[dict[str, Any]] = []
        self.loop.set_exception_handler(self._record_loop_error)
        self.simulator = Simulator(clock=lambda: START + settings.skew + self.loop.time(), quirks=settings.quirks)
        self.jobs: list[TrackedJob] = []
        self.network = Network(self.simulator, self._record_runs, dates=settings.dates)
        self.token_auth = None if settings.requests_per_token is None else TokenAuth(settings.requests_per_token)
        self._log_filter = RaisingFilter()
        if settings.raising_filter:
            logging.getLogger("clanforge_async").addFilter(self._log_filter)
        self.retry_calls: list[RetryCall] = []
        self.watch_groups: list[WatchGroup] = []
        self.conditions = Conditions(
            faults=set(),
            server_ahead=START + settings.skew,
            no_faults_since=-math.inf,
            seconds_per_request=1 / settings.max_rate if settings.max_rate else 0.0,
            max_waiting=0,
            outage_tolerance=settings.outage_tolerance,
            stale_after=settings.stale_after,
            closed_at={},
        )
        self.snapshots: list[tuple[TrackedJob, Job, int]] = []
        self.client = self.run(self._open_client())
        self.watcher = self.run(self._open_watcher())

    def run(self, action: Coroutine[Any, Any, T]) -> T:
        """Run the loop until a coroutine ends."""
        return self.loop.run_until_complete(action)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, then check everything that has ended."""
        self.run(asyncio.sleep(seconds))
        for _ in range(_TURNS):
            self.run(asyncio.sleep(0))
        self.check()

    def check(self) -> None:
        """Check everything that has ended since the last call."""
        self.conditions.max_waiting = max(self.conditions.max_waiting, len(self.jobs) + len(self.retry_calls))
        self._record_runs()
        for calls in [self._retry_calls_of(tracked) for tracked in self.jobs]:
            if calls and all(each.is_done(self.network) for each in calls):
                assert_retry_count(calls, self.network)
                self.retry_calls = [each for each in self.retry_calls if each not in calls]
        for group in [each for each in self.watch_groups if each.task.done()]:
            assert_correct_end(group, self.network, self.conditions)
            self._record_snapshots(group)
            self.watch_groups.remove(group)

    def add_fault(self, fault: Fault, **when: Any) -> None:
        """Add a fault to the simulator."""
        self.conditions.faults.add(type(fault).__name__)
        self.conditions.no_faults_since = None
        self.simulator.faults.add(fault, **when)

    def refuse_connections(self, connections: int) -> None:
        """Refuse the next connections."""
        if connections:
            self.conditions.faults.add("refused")
            self.conditions.no_faults_since = None
            self.network.connections_to_refuse = connections

    def misbehave(self, misbehaviours: list[Misbehaviour]) -> None:
        """Let a third party's transport misbehave at its next requests; httpx's own doesn't."""
        if self.settings.is_third_party and misbehaviours:
            self.conditions.faults.add("misbehaviour")
            self.conditions.no_faults_since = None
            self.network.misbehaviours = list(misbehaviours)

    def fail_tokens(self, failures: list[int | None]) -> None:
        """Let the next requests for a token fail."""
        if self.token_auth is not None and failures:
            self.conditions.faults.add("token")
            self.conditions.no_faults_since = None
            self.network.token_failures = list(failures)

    def clear_faults(self) -> None:
        """Clear all faults."""
        self.simulator.faults.clear()
        self.network.connections_to_refuse = 0
        self.network.misbehaviours.clear()
        self.network.token_failures.clear()
        if self.conditions.no_faults_since is None:
            self.conditions.no_faults_since = self.loop.time()

    def wait_for_end(self, tracked: TrackedJob) -> None:
        """Let time pass until a job's last run has ended."""
        if not tracked.has_ended():
            self.pass_time(self.simulator.ended_at(tracked.ref) - self.simulator.clock() + 0.01)

    def retry(self, tracked: TrackedJob) -> RetryCall:
        """Start a call that retries a diff."""
        others = self._retry_calls_of(tracked)
        call = RetryCall(tracked, others=len(others))
        for other in others:
            other.others += 1
        call.task = self.loop.create_task(call.run_call(self.client, self.network))
        self.retry_calls.append(call)
        self.pass_time(0)
        return call

    def watch(
        self, method: WatchMethod, targets: Iterable[tuple[TrackedJob, JobRef | Job, int]], seconds: float | None
    ) -> None:
        """Start watches; each target has the number of the earliest run whose end may end its watch."""
        watches = [Watch(*target, timeout=seconds, began=self.loop.time()) for target in targets]
        task = self.loop.create_task(_run_method(method, self.watcher, watches))
        self.watch_groups.append(WatchGroup(watches, self.watcher, task, stops_early=method is take_first_update))
        self.pass_time(0)

    def close_watcher(self) -> list[Watch]:
        """Close the watcher, open another, and return the unfinished watches."""
        closing = self.watcher
        unfinished = [watch for group in self.watch_groups for watch in group.watches if not watch.ends]
        self.conditions.closed_at[closing] = self.loop.time()
        self.run(closing.aclose())
        self.watcher = self.run(self._open_watcher())
        self.pass_time(0)
        assert not any(group.watcher is closing for group in self.watch_groups), (
            "a watch of the closed watcher is still waiting"
        )
        return unfinished

    def close(self) -> None:
        """Cancel all tasks, and close the loop."""
        logging.getLogger("clanforge_async").removeFilter(self._log_filter)
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def _record_loop_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), FilterError):  # a log filter's bug is reported here on purpose
            self.loop_errors.append(context)

    def _record_runs(self) -> None:
        for tracked in self.jobs:
            tracked.record_run(self.loop.time())

    def _record_snapshots(self, group: WatchGroup) -> None:
        for watch in group.watches:
            self.snapshots += [(watch.tracked, job, watch.first_run) for job in watch.updates[-1:]]

    def _retry_calls_of(self, tracked: TrackedJob) -> list[RetryCall]:
        return [call for call in self.retry_calls if call.tracked is tracked]

    async def _open_client(self) -> ClanforgeClient:
        return ClanforgeClient(
            self.token_auth or (DEMO_ACCOUNT.access_key, DEMO_ACCOUNT.secret_key),
            account_service_id=DEMO_ACCOUNT.account_service_id,
            max_rate=self.settings.max_rate,
            max_concurrency=self.settings.max_concurrency,
            max_retries=self.settings.max_retries,
            transport=self.network if self.settings.is_third_party else _as_mock_transport(self.network),
        )

    async def _open_watcher(self) -> JobWatcher:
        return JobWatcher(
            self.client,
            interval=self.settings.interval,
            outage_tolerance=self.settings.outage_tolerance,
            stale_after=self.settings.stale_after,
        )


async def _run_method(method: WatchMethod, watcher: JobWatcher, watches: list[Watch]) -> None:
    await method(watcher, watches)


def _as_mock_transport(network: Network) -> httpx.MockTransport:
    """Return the network as a transport that is trusted when it reports that no connection was made."""
    transport = httpx.MockTransport(network.handle_async_request)
    transport.aclose = network.aclose  # type: ignore[method-assign] # httpx's own does nothing
    return transport
