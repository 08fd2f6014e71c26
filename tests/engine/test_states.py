"""The state of a watch as plain data: read back equal, small, and readable by another release."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve
from support.watch_states import BEGAN, NOW, RETRIED, diff, initial_state, seen, version

from clanforge_async import (
    ClanforgeError,
    ImageDiffDetails,
    Job,
    JobKind,
    JobRef,
    JobState,
    RateLimitError,
    job_from_dict,
)
from clanforge_async._polling.forecast import ForecastState
from clanforge_async._polling.server_clock import DateClock, ServerClock, UpdateClock, WallClock
from clanforge_async._watching.decisions import Finished, PollAgain, PollResult, decide
from clanforge_async._watching.state import WatchPolicy, WatchState

STATES = [
    pytest.param(initial_state(), id="begun"),
    pytest.param(
        initial_state(RETRIED, last_job=diff(JobState.FAILED, updated=-1, error="no space left"), stale_since=104.5),
        id="stale",
    ),
    pytest.param(
        initial_state(
            last_job=version(),
            last_news=version(progress=3),
            last_error=RateLimitError("later", status_code=429, retry_after=30.0),
            failing_since=0.25,
            polls_without_news=3,
            polls=7,
            idle_for=12.5,
            server_clock=ServerClock(DateClock(0.5, 0.75, 1.25), UpdateClock(1.5, 2.5, 3.5, 4.5)),
        ),
        id="failing",
    ),
    pytest.param(
        initial_state(
            JobRef.image_diff(5678),
            last_job=job_from_dict(
                JobKind.IMAGE_DIFF,
                {
                    "diffid": 5678,
                    "jobcreated": 1,
                    "jobupdated": 2,
                    "jobstateid": 99,
                    "jobstatename": "Musing",
                    "jobprogress": 3,
                    "jobfailed": 1,
                },
            ),
        ),
        id="unknown-state",
    ),
]


@pytest.mark.parametrize("state", STATES)
def test_a_state_survives_json(state: WatchState) -> None:
    """A state written as JSON is read back equal."""
    assert WatchState.from_dict(json.loads(json.dumps(state.to_dict(), allow_nan=False))) == state


def watched_state() -> WatchState:
    """Return a typical state of a watch, with all entries."""
    job = version(started_at=NOW - timedelta(seconds=30), eta=NOW + timedelta(seconds=90), progress=25)
    state = decide(initial_state(), seen(job), WatchPolicy()).state
    return decide(state, seen(evolve(job, progress=50), BEGAN + 30), WatchPolicy()).state


WATCHED = watched_state()


def test_a_state_with_a_forecast_survives_json() -> None:
    """The state of the forecast is written and read as a part of the watch's state."""
    job = version(started_at=NOW - timedelta(seconds=30), eta=NOW + timedelta(seconds=90), progress=25)
    outcome = decide(initial_state(), seen(job), WatchPolicy())
    assert outcome.state.forecast_state.eta is not None
    assert outcome.state.forecast_state.progress is not None
    assert WatchState.from_dict(json.loads(json.dumps(outcome.state.to_dict()))) == outcome.state


@pytest.mark.parametrize("fault", [{"ref": "image-diff"}, {"ref": 5678}, {"ref": None}])
def test_a_state_without_a_reference_raises(fault: dict[str, Any]) -> None:
    """Data whose reference is missing or invalid raises one of the documented errors."""
    with pytest.raises((TypeError, ValueError)):
        WatchState.from_dict(initial_state().to_dict() | fault)
    with pytest.raises(KeyError, match="ref"):
        WatchState.from_dict({})


@pytest.mark.parametrize("name", [name for name in initial_state().to_dict() if name != "ref"])
@pytest.mark.parametrize("value", [..., None, "red", {}, {"colour": "red"}, [1]])
def test_a_state_of_another_release_is_read(name: str, value: Any) -> None:
    """Missing and invalid entries of a state get their defaults, and the other entries are kept."""
    plain: dict[str, Any] = WATCHED.to_dict() | {"colour": "red"} | {name: value}
    state = WatchState.from_dict({key: entry for key, entry in plain.items() if entry is not ...})
    if name == "last_error" and value not in (..., None):
        assert isinstance(state.last_error, ClanforgeError)
    elif name == "last_job":
        assert state == evolve(WATCHED, last_job=None, last_news=None)
    else:
        assert state == evolve(WATCHED, **{name: getattr(WatchState(ref=WATCHED.ref, began=0.0), name)})


def test_unknown_entries_of_a_forecast_are_ignored() -> None:
    """A forecast with unknown entries at any depth is read; an invalid forecast becomes an empty one."""
    plain = WATCHED.to_dict()
    memory = plain["forecast_state"]
    memory["colour"] = "red"
    memory["last"].append("red")
    assert WatchState.from_dict(plain) == WATCHED
    for unreadable in (memory["last"][:4], ["red"] * 6, "red", 5):
        memory["last"] = unreadable
        assert WatchState.from_dict(plain).forecast_state == ForecastState()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-8],
        lambda data: data[:-1],
        lambda data: data + bytes(8),
        lambda data: struct.pack("<d", math.nan) + data[8:],
        lambda _: None,
    ],
    ids=["too short", "torn", "too long", "no number", "no text"],
)
def test_an_unreadable_estimate_empties_the_forecast(damage: Callable[[bytes], bytes | None]) -> None:
    """If an estimate is damaged, or from a release with other fields, the forecast starts again."""
    plain = WATCHED.to_dict()
    data = damage(base64.b64decode(plain["forecast_state"]["eta"]))
    plain["forecast_state"]["eta"] = 5 if data is None else base64.b64encode(data).decode()
    assert WatchState.from_dict(plain) == evolve(WATCHED, forecast_state=ForecastState())


def test_a_state_stays_small() -> None:
    """A typical state is smaller than 1 KiB as JSON. Listings do not make it larger, and texts are clipped to 2 KiB."""
    assert len(json.dumps(WATCHED.to_dict())) < 1024
    listing = {f"maps/{number}.pak": {"size": 12} for number in range(500)}
    big = diff(added=listing, modified=listing, details=ImageDiffDetails(game=listing), error="x" * 100_000)
    for state in (WatchState.start(big, 0.0), initial_state(big.ref, last_job=big, last_news=big)):
        plain = state.to_dict()
        assert len(json.dumps(plain)) < 4096
        assert plain["last_job"]["joberror"] == "x" * 2048
        assert WatchState.from_dict(plain).last_job == diff(error="x" * 2048)


def test_a_long_watch_stays_small() -> None:
    """With estimates from ETA and progress, the state stays smaller than 1 KiB, even if the watch takes long."""
    state, policy = WatchState.start(RETRIED, NOW.timestamp() + 0.123456), WatchPolicy()
    for poll in range(1, 100):
        at = NOW.timestamp() + 6.37 * poll
        date = datetime.fromtimestamp(int(at), UTC)
        eta = NOW + timedelta(seconds=1200 + poll % 40)
        job = diff(updated=int(6.37 * poll), started_at=NOW, eta=eta, progress=poll)
        server_time, clock = state.server_clock.advance(date, date, at - 0.21, at, WallClock())
        result = PollResult(seen=job, at=at, server_time=server_time)
        state = decide(evolve(state, server_clock=clock), result, policy).state
        assert len(json.dumps(state.to_dict())) < 1024
    assert state.forecast_state.eta is not None
    assert state.forecast_state.progress is not None


def test_a_watch_can_move_between_processes() -> None:
    """A watch makes the same decisions if its state is written and read between all polls."""
    broken = RateLimitError("later", status_code=429, retry_after=30.0)
    eta = NOW + timedelta(seconds=300)
    sequence: list[Job | ClanforgeError] = [
        diff(JobState.COMPLETED, updated=-1),
        broken,
        diff(JobState.QUEUED, updated=2),
        diff(updated=3, started_at=NOW, eta=eta, progress=40),
        broken,
        diff(None, updated=4, state_id=8, state_name="Musing"),
        diff(JobState.FAILED, updated=5, failure_count=1, error="no space left"),
    ]
    here = there = initial_state(RETRIED)
    for number, answer in enumerate(sequence):
        result = seen(answer, BEGAN + 10 * number)
        in_one = decide(here, result, WatchPolicy())
        resumed = WatchState.from_dict(json.loads(json.dumps(there.to_dict())))
        in_many = decide(resumed, result, WatchPolicy())
        assert type(in_one) is type(in_many)
        here, there = in_one.state, in_many.state
        assert here == there
        if isinstance(in_one, PollAgain) and isinstance(in_many, PollAgain):
            assert in_one == in_many
    assert isinstance(in_one, Finished)
    assert isinstance(in_many, Finished)
    assert in_one.news == in_many.news == sequence[-1]
    assert str(in_one.result.error) == str(in_many.result.error) == "image-diff/5678 failed: no space left"
