"""Releases in random worlds with other clients, faults, crashes and cancellations: no harm to others, no call twice."""

from __future__ import annotations

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from properties.model.release_world import run_release_world


@settings(database=None, deadline=None, derandomize=True, max_examples=15, phases=[Phase.generate])
@given(st.integers(0, 10**9))
def test_releases_break_nothing_in_random_worlds(seed: int) -> None:
    """In each of 15 worlds, no foreign job changes, no call is processed twice, and released builds run.

    A world that fails is in the error as ``seed``; ``nox -s worlds -- --releases --seed N`` replays it.
    """
    run_release_world(seed)
