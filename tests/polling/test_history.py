"""`JobHistory`: durations of ended runs, in memory or in a file, and how a watcher uses and extends them."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bench.history import cost_by_history, jobs_with_history
from support.scripted_server import START, ScriptedServer, wire
from support.virtual_time import now, virtual_time

from clanforge_async import (
    ConfigurationError,
    JobFailedError,
    JobHistory,
    JobKind,
    JobRef,
    JobState,
    JobWatcher,
    job_from_dict,
)

REF = JobRef.image_version(9012)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


@pytest.fixture(params=["memory", "file"])
def history(request: pytest.FixtureRequest, path: Path) -> JobHistory:
    return JobHistory(path if request.param == "file" else None)


def test_completed_runs_of_a_label_count(history: JobHistory) -> None:
    """Only completed runs of the same label are used for forecasts."""
    history.add("a", 100, JobState.COMPLETED)
    history.add("a", 5, JobState.FAILED)
    history.add("b", 700, JobState.COMPLETED)
    history.add("a", 120, JobState.COMPLETED)
    assert history.durations("a") == (100, 120)
    assert history.durations("c") == ()
    assert history.expected_duration("c") is None


def test_the_latest_200_runs_of_a_label_count(history: JobHistory) -> None:
    """Older runs are dropped, for each label separately."""
    history.add("b", 1, JobState.COMPLETED)
    for seconds in range(205):
        history.add("a", seconds, JobState.COMPLETED)
    assert history.durations("a") == tuple(range(5, 205))
    assert history.durations("b") == (1,)


def test_a_typical_duration_is_the_geometric_mean_and_its_spread(history: JobHistory) -> None:
    """The more runs, and the more alike they are, the more certain is the next one's duration."""
    history.add("a", 100, JobState.COMPLETED)
    one = history.expected_duration("a")
    history.add("a", 400, JobState.COMPLETED)
    for _ in range(20):
        history.add("b", 200, JobState.COMPLETED)
    two, many = history.expected_duration("a"), history.expected_duration("b")
    assert one is not None
    assert two is not None
    assert many is not None
    assert (one.seconds, two.seconds, many.seconds) == pytest.approx((100, 200, 200))
    assert two.log_stddev > one.log_stddev > 2 * many.log_stddev > 0


@pytest.mark.parametrize(
    ("label", "seconds", "outcome", "error"),
    [
        (1, 1, JobState.COMPLETED, TypeError),
        ("a", 1, 5, TypeError),
        ("a", -1, JobState.COMPLETED, ValueError),
        ("a", math.inf, JobState.COMPLETED, ValueError),
        ("a", "1", JobState.COMPLETED, ValueError),
        ("a", 1, JobState.RUNNING, ValueError),
    ],
)
def test_an_invalid_run_raises(history: JobHistory, label: Any, seconds: Any, outcome: Any, error: type) -> None:
    """A run has a text, a number of seconds and a terminal state."""
    with pytest.raises(error, match=r"^a run "):
        history.add(label, seconds, outcome)
    assert history.durations("a") == ()


def test_a_file_is_shared(path: Path) -> None:
    """A history sees the runs that others have added to its file since the last read."""
    one, another = JobHistory(path), JobHistory(str(path))
    one.add("a", 1, JobState.COMPLETED)
    another.add("a", 2, JobState.COMPLETED)
    one.add("a", 3, JobState.SQUASHED)
    assert one.durations("a") == another.durations("a") == JobHistory(path).durations("a") == (1, 2)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[2] == {"label": "a", "seconds": 3.0, "outcome": "squashed"}
    path.unlink()
    assert one.durations("a") == ()
    assert repr(one) == f"JobHistory({str(path)!r})"
    assert repr(JobHistory()) == "JobHistory()"


ADD = """
import sys
from clanforge_async import JobHistory, JobState
for seconds in range(40):
    JobHistory(sys.argv[1]).add(sys.argv[2], seconds, JobState.COMPLETED)
"""


def test_processes_lose_no_run_of_each_other(path: Path) -> None:
    """Two processes that add runs at the same time lose none, and the file is complete at every moment."""
    command = [sys.executable, "-c", ADD, str(path)]
    writers = [subprocess.Popen([*command, label]) for label in ("a", "b")]  # noqa: S603 - our own script
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            assert all("label" in json.loads(line) for line in path.read_text().splitlines())
    assert [writer.returncode for writer in writers] == [0, 0]
    assert JobHistory(path).durations("a") == JobHistory(path).durations("b") == tuple(range(40))


@pytest.mark.parametrize(
    "content",
    [
        b"no json\n",
        b"\xff\xfe\n",
        b"[]\n",
        b'{"label": "a", "seconds": 1, "outcome": "completed"}\n{"label": "a"}\n',
        b'{"label": "a", "seconds": "1", "outcome": "completed"}\n',
        b'{"label": "a", "seconds": 1, "outcome": "done"}\n',
        b'{"label": "a", "seconds": 1, "outcome": 5}\n',
        b'{"label": "a", "seconds": 1, "outcome": "completed", "run": 5}\n',
    ],
)
def test_a_corrupt_file_is_set_aside(path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A file that is not a history is renamed, a warning names it, and a new file is started."""
    path.with_name("history.jsonl.corrupt-1").write_bytes(b"an earlier one")
    path.write_bytes(content)
    history = JobHistory(path)
    assert history.durations("a") == ()
    aside = path.with_name("history.jsonl.corrupt-2")
    assert aside.read_bytes() == content
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert str(path) in caplog.text
    assert str(aside) in caplog.text
    history.add("a", 7, JobState.COMPLETED)
    assert JobHistory(path).durations("a") == (7,)
    assert len(caplog.records) == 1


def completed(**fields: Any) -> dict[str, Any]:
    return wire(9012, JobState.COMPLETED, jobstart=START, jobupdated=START + 100, **fields)


@virtual_time
async def test_a_watch_adds_each_run_once(history: JobHistory) -> None:
    """However many watches see a run end, and however often, the history has it once, under its label."""
    server = ScriptedServer()
    history.label = lambda ref: f"build {ref.kind}"
    server.version(9012, wire(9012), completed())
    async with JobWatcher(server.client(), history=history) as watcher:
        await watcher.wait_all([REF, REF])
        await watcher.wait(REF)
        await watcher.wait(job_from_dict(JobKind.IMAGE_VERSION, completed()))
    assert history.durations("build image-version") == (100,)


@virtual_time
async def test_a_failed_run_is_stored_but_not_used(tmp_path: Path) -> None:
    """A failed run is stored with its outcome, but not used; a run without a start is not stored."""
    server, path = ScriptedServer(), tmp_path / "history"
    server.version(9012, wire(9012, JobState.FAILED, jobstart=START, jobupdated=START + 30))
    server.version(9013, wire(9013, JobState.COMPLETED, jobstart=None))
    async with JobWatcher(server.client(), history=JobHistory(path)) as watcher:
        with pytest.raises(JobFailedError):
            await watcher.wait(REF)
        await watcher.wait(JobRef.image_version(9013))
    assert [json.loads(line)["outcome"] for line in path.read_text().splitlines()] == ["failed"]
    assert JobHistory(path).durations("image-version") == ()


@virtual_time
async def test_watches_that_see_no_end_add_nothing() -> None:
    """A watch that times out, is cancelled or ends with an error adds no run."""
    server, history = ScriptedServer(), JobHistory()
    server.on("imageversion/status", 9012, lambda: wire(9012))
    async with JobWatcher(server.client(), history=history) as watcher:
        results = await watcher.wait_all([REF], timeout=30)
        updates = watcher.updates(REF)
        await anext(updates)
        await updates.aclose()
        waiter = asyncio.create_task(watcher.wait(REF))
        await asyncio.sleep(1)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
    assert not results[0].ok
    assert history.durations("image-version") == ()


@virtual_time
async def test_a_history_that_fails_ends_no_watch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """If the file can be neither read nor written, a warning is logged, and the watch continues without it."""
    server = ScriptedServer()
    server.version(9012, wire(9012), completed())
    async with JobWatcher(server.client(), history=JobHistory(tmp_path)) as watcher:
        assert (await watcher.wait(REF)).is_completed
    events = [record.__dict__["clanforge_event"] for record in caplog.records if record.levelno == logging.WARNING]
    assert events == ["history_failed", "history_failed"]


def test_a_history_has_to_be_one() -> None:
    """A path instead of a history is refused."""
    with pytest.raises(ConfigurationError, match="history must be a JobHistory, not str"):
        JobWatcher(ScriptedServer().client(), history="history.jsonl")  # type: ignore[arg-type]


@virtual_time
async def test_a_job_without_estimates_is_polled_around_its_usual_end() -> None:
    """With a history, polls are rare before the usual duration, and frequent around it."""
    times = list[list[float]]()
    for known in (False, True):
        server, history, begun = ScriptedServer(), JobHistory(), now()
        for seconds in (560, 590, 600, 610, 640) if known else ():
            history.add("image-version", seconds, JobState.COMPLETED)
        server.on(
            "imageversion/status",
            9012,
            lambda begun=begun: wire(  # type: ignore[misc]
                9012,
                JobState.COMPLETED if now() - begun >= 600 else JobState.RUNNING,
                jobprogress=0,
                jobeta=None,
                jobstart=START + int(begun),
                jobupdated=START + int(now()),
            ),
        )
        await JobWatcher(server.client(), history=history).wait(REF)
        times.append([poll - begun for poll in server.polls(9012)])
    without, by_history = times
    assert len(by_history) < 0.8 * len(without)
    assert by_history[-1] - by_history[-2] < 12
    assert sum(poll < 300 for poll in by_history) < 0.65 * sum(poll < 300 for poll in without)


def test_a_history_lowers_the_cost_without_estimates() -> None:
    """Five ended jobs save at least a sixth; a history that is wrong by a factor of three costs little."""
    population = jobs_with_history(60, have_signs=False)
    without = cost_by_history(population, None).cost
    assert cost_by_history(population, 1).cost < 0.85 * without
    assert cost_by_history(population, 3).cost < 1.2 * without
    assert cost_by_history(population, 1 / 3).cost < 1.15 * without


@pytest.mark.parametrize("factor", [1 / 3, 1, 3])
def test_a_history_does_not_spoil_good_estimates(factor: float) -> None:
    """While the server's ETA or progress shows the end, the history has no effect."""
    population = jobs_with_history(40, have_signs=True)
    assert cost_by_history(population, factor).cost == pytest.approx(cost_by_history(population, None).cost, rel=0.02)
