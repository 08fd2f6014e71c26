"""The server's clock, more precise than its whole seconds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clanforge_async._polling.server_clock import DateClock


@settings(deadline=None)
@given(
    ahead=st.floats(-1e6, 1e9),
    pauses=st.lists(st.floats(0.01, 100), min_size=1, max_size=30),
    latencies=st.lists(st.floats(0.001, 3), min_size=30, max_size=30),
    parts=st.lists(st.floats(0, 1), min_size=30, max_size=30),
)
def test_the_time_is_never_further_off_than_a_second_and_the_latency(
    ahead: float, pauses: list[float], latencies: list[float], parts: list[float]
) -> None:
    """Every response limits the error to half of what its own second and latency allow, however the others were."""
    clock, now = DateClock(), 0.0
    for pause, latency, part in zip(pauses, latencies, parts, strict=False):
        began = now = now + pause
        now += latency
        date = math.floor(ahead + began + part * latency)
        clock = clock.observe(date, began, now)
        assert abs(clock.now() - (ahead + now)) <= (1 + latency) / 2 + 1e-6


def test_many_whole_seconds_tell_the_time_within_their_latency() -> None:
    """After polls at many parts of a second, the error is at most the latency."""
    clock, ahead = DateClock(), 1_763_769_600.37
    for poll in range(40):
        at = 13.37 * poll + 0.05
        clock = clock.observe(math.floor(ahead + at - 0.02), at - 0.05, at)
    assert clock.now() == pytest.approx(ahead + at, abs=0.05)


@pytest.mark.parametrize("jump", [-3600, -5, 5, 3600])
def test_a_clock_that_was_set_counts_from_then_on(jump: int) -> None:
    """A ``Date`` that contradicts the earlier ones replaces them."""
    clock = DateClock()
    for at in range(20):
        clock = clock.observe(100 + at, at - 0.01, at + 0.3)
    assert clock.observe(120 + jump, 20, 20).now() == pytest.approx(120.5 + jump)


def test_a_clock_that_runs_faster_is_followed() -> None:
    """A drift of the clocks does not result in a contradiction."""
    clock, speed = DateClock(), 1 + 5e-5
    for at in range(0, 86_400, 20):
        clock = clock.observe(math.floor(1000 + speed * at), at, at)
        assert clock.now() == pytest.approx(1000 + speed * at, abs=0.51)
    assert clock.now() == pytest.approx(1000 + speed * at, abs=0.1)
