"""Releases in random worlds: rivals, faults, deaths and cancellations break nothing of others, and nothing twice."""

from __future__ import annotations

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from properties.model.release_world import run_release_world


@settings(database=None, deadline=None, derandomize=True, max_examples=15, phases=[Phase.generate])
@given(st.integers(0, 10**9))
def test_releases_break_nothing_in_random_worlds(seed: int) -> None:
    """Nothing foreign is touched, no side effect is acted upon twice, and what is released runs; in each of 15 worlds.

    A world that fails is in the error as ``seed``; ``nox -s worlds -- --releases --seed N`` replays it.
    """
    run_release_world(seed)
