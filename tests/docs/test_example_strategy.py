"""The example strategy polls more often near the usual end."""

from __future__ import annotations

import runpy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.examples.example_process import EXAMPLES
from support.scripted_server import wire
from tenacity import AsyncRetrying, RetryCallState

from clanforge_async import JobKind, job_from_dict

around_usual_end: Any = runpy.run_path(str(EXAMPLES / "custom_strategy.py"))["AroundUsualEnd"]


def pause(started: timedelta | None) -> float:
    """Return the pause for a job that usually takes ten minutes and started this long ago."""
    state = RetryCallState(AsyncRetrying(), None, (), {})
    started_at = None if started is None else str(int((datetime.now(UTC) - started).timestamp()))
    state.set_result(job_from_dict(JobKind.IMAGE_DIFF, wire(5, jobstart=started_at)))
    seconds: float = around_usual_end(timedelta(minutes=10))(state)
    return seconds


@pytest.mark.parametrize(("minutes", "seconds"), [(0, 60), (9, 30), (9.5, 15), (10, 1), (10.5, 15), (11, 30), (20, 60)])
def test_a_pause_is_half_the_time_to_the_usual_end(minutes: float, seconds: float) -> None:
    """A pause is half the time to or since the usual end, from one second to one minute."""
    assert pause(timedelta(minutes=minutes)) == pytest.approx(seconds, abs=1)


def test_a_job_that_has_not_started_is_polled_once_a_minute() -> None:
    """A job without a start, and a failed poll, are polled again after a minute."""
    assert pause(None) == 60
    failed = RetryCallState(AsyncRetrying(), None, (), {})
    failed.set_exception((LookupError, LookupError(), None))
    assert around_usual_end(timedelta(minutes=10))(failed) == 60
