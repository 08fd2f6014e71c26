"""The live view of releases: events, forecasts and results in its table."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from support.cli.sample_jobs import BEGAN, NOW, make_job

from clanforge_async import (
    ImageRelease,
    JobForecast,
    JobRef,
    JobState,
    JobWatcher,
    ReleaseEvent,
    ReleaseStep,
    ReleaseToken,
)
from clanforge_async.cli.output.live_releases import LiveReleaseOutput
from clanforge_async.cli.output.live_view import Frame, LiveView

FRAME = Frame(start=BEGAN, now=NOW, width=80, height=24)
TOKEN = ReleaseToken.parse("release/1:501.77.6a9a5b4d-51fad83e-2937013f:update=218000")


class FixedForecast:
    """A watcher whose forecast is always the same."""

    def __init__(self, end: datetime | None) -> None:
        self._forecast = None if end is None else JobForecast(p50=end, p90=end)

    def forecast(self, _ref: JobRef) -> JobForecast | None:
        return self._forecast


def event(**fields: Any) -> ReleaseEvent:
    release = ImageRelease(501, 77, "build 2")
    usual = {"release": release, "step": ReleaseStep.VERSION, "kind": "job", "token": TOKEN, "at": NOW}
    return ReleaseEvent(**{**usual, **fields})


@pytest.mark.parametrize(("seconds", "end"), [(190, "  in ~3m10s"), (None, "")])
def test_the_end_is_forecast_if_the_server_tells_none(seconds: int | None, end: str) -> None:
    """At each tick the row takes the watcher's forecast of a job without an ETA, marked as such."""
    output = LiveReleaseOutput([501, 502])
    forecast = FixedForecast(None if seconds is None else NOW + timedelta(seconds=seconds))
    output.begin(cast("JobWatcher", forecast))
    output.release_event(event(job=make_job(JobRef.image_version(9), JobState.RUNNING, progress=40)))
    output.tick()
    assert output.draw(FRAME)[1].plain == f"501    version 5/6  image-version/9  Running    40%{end}"
    output.release_event(event(kind="finished"))
    assert output.draw(FRAME)[1].plain.startswith("501    version 5/6  image-version/9")
    output.release_event(event(step=ReleaseStep.ROLLOUT, kind="started"))
    output.tick()
    assert output.draw(FRAME)[1].plain == "501    rollout 6/6  started"


def test_a_live_view_has_lines_of_its_own() -> None:
    """The base class draws nothing by itself."""
    with pytest.raises(NotImplementedError):
        LiveView.draw(cast("LiveView", None), FRAME)
