"""A watch behaves the same if its state is converted to JSON and back after each poll, for any history."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any
from unittest.mock import patch

import httpx
from attrs import evolve, frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from support.scripted_server import START, Answer, ScriptedServer, server_now, wire
from support.virtual_time import now, run_in_virtual_time
from tenacity import wait_exponential, wait_incrementing

from clanforge_async import JobRef, JobState, until_eta
from clanforge_async._polling.distributions import ExpectedDuration
from clanforge_async._polling.forecast import ForecastState
from clanforge_async._polling.strategy import Interval
from clanforge_async.engine import Finished, WatchPolicy, WatchState, poll_once


@frozen
class Response:
    """A response: its latency, its status, and whether it has a ``Date``."""

    takes: float
    body: dict[str, Any] | None
    status: int
    retry_after: int | None
    date: float | None

    def answer(self) -> Answer:
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.date is not None:
            headers["Date"] = formatdate(server_now() + self.date, usegmt=True)
        if self.body is None:
            return httpx.Response(self.status, text="broken" * 300, headers=headers)
        moved = {name: START + int(now()) + offset for name, offset in self.body["moved"].items()}
        return httpx.Response(200, json=self.body | moved, headers=headers)


offsets = st.integers(-120, 600)
bodies = st.builds(
    lambda state, moved, progress, added, name: wire(
        5678, state, moved=moved, jobprogress=progress, added=added, jobstatename=name
    ),
    st.sampled_from([None, JobState.PENDING, JobState.QUEUED, *([JobState.RUNNING] * 6), JobState.FAILED]),
    st.fixed_dictionaries({}, optional={"jobeta": offsets, "jobupdated": st.integers(-120, 0), "jobstart": offsets}),
    st.integers(0, 100),
    st.sampled_from([{}, {"maps/tundra.pak": {"size": 12}}]),
    st.text(max_size=5),
)
responses = st.builds(
    Response,
    takes=st.sampled_from([0.0, 0.0, 0.125, 7.3]),
    body=st.one_of(bodies, bodies, bodies, st.none()),
    status=st.sampled_from([429, 500, 503]),
    retry_after=st.none() | st.integers(0, 60),
    date=st.none() | st.sampled_from([0.0, -40.0, -90.0]),
)
STRATEGIES: list[Interval] = [
    *([until_eta()] * 3),
    until_eta(0.5, 8),
    until_eta(max_waiting=20, poll_worth=0.5),
    5.0,
    wait_exponential(multiplier=0.7, max=40),
    wait_incrementing(0.3, 1.7),
    lambda state: 1.0 + state.idle_for / 7 + (state.seconds_since_start or 0.0) / 11,
]
durations = st.none() | st.builds(ExpectedDuration, st.floats(1, 900), st.floats(0.05, 2))
"""Durations of earlier runs, as in a job's history."""

policies = st.builds(
    WatchPolicy,
    interval=st.sampled_from(STRATEGIES),
    outage_tolerance=st.sampled_from([10.0, 300.0]),
    stale_after=st.sampled_from([10.0, 120.0]),
)


def through_json(state: WatchState) -> WatchState:
    return WatchState.from_dict(json.loads(json.dumps(state.to_dict(), allow_nan=False)))


def history_of(
    answers: list[Response],
    policy: WatchPolicy,
    limit: float | None,
    begun: WatchState,
    store: Callable[[WatchState], WatchState],
) -> list[object]:
    """Return all that a driver sees of a watch with these responses: pauses, updates, states and the result."""
    server, history, left = ScriptedServer(), list[object](), list(answers)

    async def script() -> Answer:
        response = left.pop(0)
        await asyncio.sleep(response.takes)
        return response.answer()

    async def main() -> None:
        state, at = begun, 0.0
        async with server.client() as client:
            while left:
                step = await poll_once(client, store(state), policy, at=at, clock=now, deadline=limit)
                history.append((step.news, repr(step.state.last_error)))
                if isinstance(step, Finished):
                    history.append((repr(step.result.error), step.result.elapsed, step.result.polls))
                    return
                history.append(step.after)
                state, at = step.state, now() + step.after
                await asyncio.sleep(step.after)

    server.on("imagediff/status", 5678, script)
    with patch("time.time", lambda: START + 5.5):  # for responses without Date
        run_in_virtual_time(main())
    return history


@settings(deadline=None, max_examples=60)  # the tests must pass on a busy machine too
@given(
    st.lists(responses, min_size=1, max_size=25),
    policies,
    st.none() | st.floats(20, 900),
    st.sampled_from([JobRef.image_diff(5678), JobRef.image_diff(5678, datetime.fromtimestamp(START - 60, UTC))]),
    durations,
)
def test_a_watch_through_json_behaves_the_same(
    answers: list[Response],
    policy: WatchPolicy,
    limit: float | None,
    ref: JobRef,
    typical: ExpectedDuration | None,
) -> None:
    """Pauses, updates and the result are equal to the last bit, whether states are converted to JSON or not."""
    begun = evolve(WatchState.start(ref, 0.0), forecast_state=ForecastState(typical=typical))
    stayed = history_of(answers, policy, limit, begun, lambda state: state)
    moved = history_of(answers, policy, limit, begun, through_json)
    assert moved == stayed
