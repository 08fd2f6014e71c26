"""What has to hold of how watches end, of those that somebody has given up as well."""

from __future__ import annotations

import pytest
from attrs import define
from properties.model.chronicle import happens
from properties.model.network import Network
from properties.model.watches import Ending, Party, Watch

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

_AFTERMATH = 180.0
"""Seconds for which what has gone wrong can still be felt: answers under way, and what the server has asked for."""

_LAST_POLL_BEFORE = 0.05
"""Seconds before its deadline at which a watch polls for the last time, where polls take no time."""


@define
class Circumstances:
    """What may have gone wrong, and how patient the watcher is.

    Attributes:
        faults: The kinds of faults that there have been.
        server_ahead: Seconds that the server's clock shows more than the loop's.
        calm_since: When the last of them was mended; None: they go on.
        seconds_per_request: How long one request makes the next one wait, by the client's rate.
        crowd: How many there may have been to wait for each other.
        outage_tolerance: The watchers'.
        stale_after: The watchers'.
        closed_at: When watchers were closed.
    """

    faults: set[str]
    server_ahead: float
    calm_since: float | None
    seconds_per_request: float
    crowd: int
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
            happens(f"watch: {'cancelled' if party.task.cancelled() else 'left'}")
        else:
            assert len(watch.endings) == 1, f"{watch.ref} has ended {len(watch.endings)} times"
        for ending in watch.endings:
            _assert_in_time(watch, ending)
            happens(f"watch: {_name(ending)}")
            if ending.job is None:
                _assert_given_up_well(watch, ending, party.watcher, circumstances)
                _assert_not_in_vain(watch, ending, circumstances)
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
    if watch.is_over_before_it_begins:
        assert (ending.job, ending.at) == (watch.target, watch.began)
        return
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


def _assert_not_in_vain(watch: Watch, ending: Ending, circumstances: Circumstances) -> None:
    """Hold that no watch has run out of time whose job had ended by its last poll, while nothing went wrong."""
    since, deadline = circumstances.calm_since, ending.at
    if not isinstance(ending.error, WatchTimeoutError) or since is None or watch.began < since + _AFTERMATH:
        return
    happens("watch: timed out in calm")
    in_time = deadline - _LAST_POLL_BEFORE - 3 * circumstances.seconds_per_request * circumstances.crowd
    if in_time > watch.began:
        ended = watch.subject.end_shown(watch.first_run, in_time, deadline, circumstances.server_ahead)
        assert ended is None, f"{watch.ref} timed out at {deadline}, but had ended: {ended}"


def _name(ending: Ending) -> str:
    if ending.job is not None:
        return JobState(ending.job.state or 0).name.lower()
    return "outage" if isinstance(ending.error, _TRANSIENT) else type(ending.error).__name__


def _about(moment: float) -> object:
    return pytest.approx(moment, abs=1e-6)
