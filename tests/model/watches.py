"""Watches, in each of the forms in which a watcher offers them, and what has to hold of how they end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from attrs import define, field
from model.network import Network
from model.truth import Subject
from virtual_time import now

from clanforge_async import (
    APIError,
    ClanforgeError,
    InvalidResponseError,
    Job,
    JobFailedError,
    JobRef,
    JobSquashedError,
    JobState,
    JobWatcher,
    RateLimitError,
    ServerError,
    StaleJobError,
    TransportError,
    WatchClosedError,
    WatchResult,
    WatchTimeoutError,
)

_ERRORS = {JobState.FAILED: JobFailedError, JobState.SQUASHED: JobSquashedError}
_TRANSIENT = (TransportError, RateLimitError, ServerError, InvalidResponseError)


@define(eq=False)
class Ending:
    """One time that a watch has ended."""

    at: float
    job: Job | None
    error: Exception | None


@define(eq=False)
class Watch:
    """A watch that somebody has begun.

    Attributes:
        subject: The job.
        ref: The reference that is watched.
        first_run: The number of the earliest run that the reference lets the watch end with.
        began: When, by the loop's clock.
        timeout: Seconds, as given.
        updates: All snapshots that it has told of.
        endings: How it has ended, each time that it has.
    """

    subject: Subject
    ref: JobRef
    first_run: int
    timeout: float | None
    began: float
    updates: list[Job] = field(factory=list[Job])
    endings: list[Ending] = field(factory=list[Ending])

    def end(self, job: Job | None, error: Exception | None, at: float | None = None) -> None:
        """Write down that it has ended."""
        self.endings.append(Ending(now() if at is None else at, job, error))

    def take(self, result: WatchResult) -> None:
        """Write down how it has ended, as a result tells it."""
        assert result.ref == self.ref
        has_ended = result.error is None or isinstance(result.error, JobFailedError)
        self.end(result.job if has_ended else None, result.error, self.began + result.elapsed)


@define(eq=False)
class Party:
    """Watches that one call of a watcher makes, and the task that waits for them."""

    watches: Sequence[Watch]
    watcher: JobWatcher
    task: asyncio.Task[None]
    leaves: bool = False
    """Whether it leaves after the first news, and so may never see an end."""


async def wait(watcher: JobWatcher, watches: Sequence[Watch]) -> None:
    (watch,) = watches
    try:
        watch.end(await watcher.wait(watch.ref, timeout=watch.timeout, on_update=watch.updates.append), None)
    except JobFailedError as error:
        watch.end(error.job, error)
    except ClanforgeError as error:
        watch.end(None, error)


async def iterate(watcher: JobWatcher, watches: Sequence[Watch]) -> None:
    (watch,) = watches
    try:
        async for job in watcher.updates(watch.ref, timeout=watch.timeout):
            watch.updates.append(job)
        watch.end(watch.updates[-1].raise_for_failure(), None)
    except JobFailedError as error:
        watch.end(error.job, error)
    except ClanforgeError as error:
        watch.end(None, error)


async def glance(watcher: JobWatcher, watches: Sequence[Watch]) -> None:
    (watch,) = watches
    try:
        async for job in watcher.updates(watch.ref, timeout=watch.timeout):
            watch.updates.append(job)
            break  # and leave the iterator to whoever collects it
    except ClanforgeError as error:
        watch.end(None, error)


async def wait_for_all(watcher: JobWatcher, watches: Sequence[Watch]) -> None:
    updates = _sorted_by_job(watches)
    refs = [watch.ref for watch in watches]
    try:
        results = await watcher.wait_all(refs, timeout=watches[0].timeout, on_update=updates)
    except WatchClosedError as error:  # before it began
        for watch in watches:
            watch.end(None, error)
        return
    for watch, result in zip(watches, results, strict=True):
        watch.take(result)


async def take_as_they_end(watcher: JobWatcher, watches: Sequence[Watch]) -> None:
    by_ref = {watch.ref: watch for watch in watches}
    try:
        async for result in watcher.as_completed(by_ref, timeout=watches[0].timeout, on_update=_sorted_by_job(watches)):
            by_ref[result.ref].take(result)
    except WatchClosedError as error:
        for watch in watches:
            watch.end(None, error)


def _sorted_by_job(watches: Sequence[Watch]) -> Callable[[Job], None]:
    by_job = {(watch.ref.kind, watch.ref.id): watch for watch in watches}
    return lambda job: by_job[job.kind, job.id].updates.append(job)


Form = Callable[[JobWatcher, Sequence[Watch]], Awaitable[None]]
ALONE: tuple[Form, ...] = (wait, iterate, glance)
TOGETHER: tuple[Form, ...] = (wait_for_all, take_as_they_end)


@define
class Circumstances:
    """What may have gone wrong, and how patient the watcher is."""

    faults: set[str]
    outage_tolerance: float
    stale_after: float
    closed_at: dict[JobWatcher, float]


def assert_ended_well(party: Party, network: Network, circumstances: Circumstances) -> None:
    """Hold that every watch of a party has ended once, for a reason that there was."""
    if not party.task.cancelled():
        party.task.result()
    for watch in party.watches:
        _assert_told_well(watch)
        if party.task.cancelled() or (party.leaves and watch.updates):
            assert len(watch.endings) <= 1
        else:
            assert len(watch.endings) == 1, f"{watch.ref} has ended {len(watch.endings)} times"
        for ending in watch.endings:
            _assert_in_time(watch, ending)
            if ending.job is None:
                _assert_given_up_well(watch, ending, party.watcher, circumstances)
            else:
                _assert_true(watch, ending, ending.job, network, circumstances)


def _assert_told_well(watch: Watch) -> None:
    assert not any(job.is_terminal for job in watch.updates[:-1]), f"{watch.ref} went on after its end"
    if watch.ref.newer_than is not None:
        assert all(job.updated_at >= watch.ref.newer_than for job in watch.updates)


def _assert_in_time(watch: Watch, ending: Ending) -> None:
    if watch.timeout is not None:
        assert ending.at <= watch.began + watch.timeout + 1e-6


def _assert_true(watch: Watch, ending: Ending, job: Job, network: Network, circumstances: Circumstances) -> None:
    assert type(ending.error) is _ERRORS.get(job.state or JobState.CREATED, type(None))
    assert watch.updates[-1:] == [job]
    run = watch.subject.run_shown_by(job)
    assert run >= watch.first_run, f"{watch.ref} ended with run {run}, which came before run {watch.first_run}"
    assert watch.subject.ends[run].at <= watch.subject.simulator.clock()
    answered = [each for each in network.log if each.answered == _about(ending.at)]
    sent = [each.sent for each in answered if each.path == watch.subject.status_path]
    assert sent, f"{watch.ref} ended at {ending.at}, when no poll was answered"
    later = watch.subject.ends[run + 1 :]
    if "Stale" not in circumstances.faults:
        assert all(end.known >= min(sent) for end in later), f"{watch.ref} ended with run {run}, which was not the last"


def _assert_given_up_well(watch: Watch, ending: Ending, watcher: JobWatcher, circumstances: Circumstances) -> None:
    error, lasted = ending.error, ending.at - watch.began
    if isinstance(error, WatchTimeoutError):
        assert lasted == pytest.approx(watch.timeout)
    elif isinstance(error, WatchClosedError):
        assert circumstances.closed_at[watcher] == pytest.approx(ending.at)
    elif isinstance(error, StaleJobError):
        assert "Stale" in circumstances.faults
        assert lasted >= circumstances.stale_after - 1e-6
    elif isinstance(error, _TRANSIENT):
        assert circumstances.faults
        assert lasted >= circumstances.outage_tolerance - 1e-6
    else:
        assert isinstance(error, APIError), error
        assert error.status_code == 200, error
        assert "Envelope" in circumstances.faults


def _about(moment: float) -> object:
    return pytest.approx(moment, abs=1e-6)
