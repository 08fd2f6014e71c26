"""Assertions on the ends of watches, including cancelled ones."""

from __future__ import annotations

import pytest
from attrs import define
from properties.model.event_log import record
from properties.model.network import Network
from properties.model.watch_groups import Watch, WatchEnd, WatchGroup

from clanforge_async import (
    APIError,
    InvalidResponseError,
    Job,
    JobFailedError,
    JobSquashedError,
    JobState,
    JobWatcher,
    RateLimitError,
    ServerError,
    StaleJobError,
    TransportError,
    WatchClosedError,
    WatchTimeoutError,
)

_ERRORS = {JobState.FAILED: JobFailedError, JobState.SQUASHED: JobSquashedError}
_TRANSIENT = (TransportError, RateLimitError, ServerError, InvalidResponseError)

_AFTER_EFFECTS = 180.0
"""Seconds for which a cleared fault still has effects: requests in flight, and a ``Retry-After``."""

_LAST_POLL_BEFORE = 0.05
"""Seconds before its deadline at which a watch polls for the last time, if polls take no time."""


@define
class Conditions:
    """The faults so far, and the watchers' tolerances.

    Attributes:
        faults: Names of the faults so far.
        server_ahead: Seconds by which the server's clock is ahead of the loop's.
        no_faults_since: Time at which the last fault was cleared; None: some are active.
        seconds_per_request: Minimum seconds between two requests, by the client's rate.
        max_waiting: Maximum number of jobs and calls that may have waited for each other.
        outage_tolerance: The watchers' setting.
        stale_after: The watchers' setting.
        closed_at: Time at which each closed watcher was closed.
    """

    faults: set[str]
    server_ahead: float
    no_faults_since: float | None
    seconds_per_request: float
    max_waiting: int
    outage_tolerance: float
    stale_after: float
    closed_at: dict[JobWatcher, float]


def assert_correct_end(group: WatchGroup, network: Network, conditions: Conditions) -> None:
    """Assert that every watch of a group ended once, for a reason that applied."""
    if not group.task.cancelled():
        group.task.result()
    for watch in group.watches:
        _assert_updates(watch)
        if group.task.cancelled() or (group.stops_early and watch.updates):
            assert len(watch.ends) <= 1
            record(f"watch: {'cancelled' if group.task.cancelled() else 'iterator dropped'}")
        else:
            assert len(watch.ends) == 1, f"{watch.ref} ended {len(watch.ends)} times"
        for end in watch.ends:
            _assert_within_timeout(watch, end)
            record(f"watch: {_outcome_name(end)}")
            if end.job is None:
                _assert_error(watch, end, group.watcher, conditions)
                _assert_no_missed_end(watch, end, conditions)
            else:
                _assert_job_end(watch, end, end.job, network, conditions)


def _assert_updates(watch: Watch) -> None:
    assert not any(job.is_terminal for job in watch.updates[:-1]), f"{watch.ref} went on after its end"
    if watch.ref.newer_than is not None:
        assert all(job.updated_at >= watch.ref.newer_than for job in watch.updates)


def _assert_within_timeout(watch: Watch, end: WatchEnd) -> None:
    if watch.timeout is not None:
        assert end.at <= watch.began + watch.timeout + 1e-6


def _assert_job_end(watch: Watch, end: WatchEnd, job: Job, network: Network, conditions: Conditions) -> None:
    assert type(end.error) is _ERRORS.get(job.state or JobState.CREATED, type(None))
    assert watch.updates[-1:] == [job]
    run = watch.tracked.run_of(job)
    assert run >= watch.first_run, f"{watch.ref} ended with run {run}, which came before run {watch.first_run}"
    assert watch.tracked.ends[run].at <= watch.tracked.simulator.clock()
    if watch.needs_no_poll:
        assert (end.job, end.at) == (watch.target, watch.began)
        return
    answered = [each for each in network.log if each.answered == _close_to(end.at)]
    sent = [each.sent for each in answered if each.path == watch.tracked.status_path]
    assert sent, f"{watch.ref} ended at {end.at}, when no poll was answered"
    later = watch.tracked.ends[run + 1 :]
    if "Stale" not in conditions.faults:
        assert all(end.known >= min(sent) for end in later), f"{watch.ref} ended with run {run}, which was not the last"


def _assert_error(watch: Watch, end: WatchEnd, watcher: JobWatcher, conditions: Conditions) -> None:
    error, lasted = end.error, end.at - watch.began
    if isinstance(error, WatchTimeoutError):
        assert lasted == pytest.approx(watch.timeout)
    elif isinstance(error, WatchClosedError):
        assert conditions.closed_at[watcher] == pytest.approx(end.at)
    elif isinstance(error, StaleJobError):
        assert "Stale" in conditions.faults
        assert lasted >= conditions.stale_after - 1e-6
    elif isinstance(error, _TRANSIENT):
        assert conditions.faults
        assert lasted >= conditions.outage_tolerance - 1e-6
    else:
        assert isinstance(error, APIError), error
        assert error.status_code == 200, error
        assert "Envelope" in conditions.faults


def _assert_no_missed_end(watch: Watch, end: WatchEnd, conditions: Conditions) -> None:
    """Assert that no watch whose job had ended by its last poll timed out, unless there were faults."""
    since, deadline = conditions.no_faults_since, end.at
    if not isinstance(end.error, WatchTimeoutError) or since is None or watch.began < since + _AFTER_EFFECTS:
        return
    record("watch: timed out without faults")
    in_time = deadline - _LAST_POLL_BEFORE - 3 * conditions.seconds_per_request * conditions.max_waiting
    if in_time > watch.began:
        ended = watch.tracked.end_visible_between(watch.first_run, in_time, deadline, conditions.server_ahead)
        assert ended is None, f"{watch.ref} timed out at {deadline}, but had ended: {ended}"


def _outcome_name(end: WatchEnd) -> str:
    if end.job is not None:
        return JobState(end.job.state or 0).name.lower()
    return "outage" if isinstance(end.error, _TRANSIENT) else type(end.error).__name__


def _close_to(moment: float) -> object:
    return pytest.approx(moment, abs=1e-6)
