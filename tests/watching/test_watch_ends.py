"""The ends of watches, as `wait` returns and raises them."""

from __future__ import annotations

import asyncio
import logging
import pickle
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs.exceptions import FrozenInstanceError
from support.scripted_server import START, ScriptedServer, wire
from support.virtual_time import now, virtual_time

from clanforge_async import (
    ClanforgeError,
    ConfigurationError,
    ImageVersionJob,
    Job,
    JobFailedError,
    JobKind,
    JobRef,
    JobSquashedError,
    JobState,
    JobWatcher,
    WatchResult,
    WatchTimeoutError,
    job_from_dict,
)

REF = JobRef.image_version(9012)
EARLIER = JobRef.image_version(9012, newer_than=datetime.fromtimestamp(START - 10, UTC))
RUNNING = wire(9012)


def ended(state: JobState) -> Job:
    return job_from_dict(JobKind.IMAGE_VERSION, wire(9012, state))


@virtual_time
async def test_a_completed_job_is_returned() -> None:
    """`wait` polls until the job has completed, and returns its last snapshot."""
    server = ScriptedServer()
    server.version(9012, wire(9012, JobState.QUEUED), RUNNING, wire(9012, JobState.COMPLETED))
    job = await JobWatcher(server.client(), interval=5).wait(REF)
    assert job == ended(JobState.COMPLETED)
    assert server.polls(9012) == [0, 5, 10]
    assert now() == 10


@virtual_time
async def test_an_image_diff_is_watched_too() -> None:
    """A reference to an image diff is polled at the diff's own path."""
    server = ScriptedServer()
    server.diff(5678, wire(5678), wire(5678, JobState.COMPLETED, added={"maps/tundra.pak": {}}))
    job = await JobWatcher(server.client(), interval=5).wait(JobRef.image_diff(5678))
    assert job.kind is JobKind.IMAGE_DIFF
    assert server.polls(5678, JobKind.IMAGE_DIFF) == [0, 5]


@pytest.mark.parametrize(
    ("state", "error", "text"),
    [
        (JobState.FAILED, JobFailedError, "image-version/9012 failed: no space left"),
        (JobState.SQUASHED, JobSquashedError, "image-version/9012 was squashed by a newer job: no space left"),
    ],
)
@virtual_time
async def test_an_unsuccessful_job_raises(state: JobState, error: type[JobFailedError], text: str) -> None:
    """A failed job raises `JobFailedError` and a squashed one `JobSquashedError`, each with the job."""
    server = ScriptedServer()
    server.version(9012, RUNNING, wire(9012, state, joberror="no space left"))
    with pytest.raises(error, match=text) as caught:
        await JobWatcher(server.client(), interval=5).wait(REF)
    assert type(caught.value) is error
    assert caught.value.job.state is state


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.FAILED, JobState.SQUASHED])
@virtual_time
async def test_unchecked_every_terminal_job_is_returned(state: JobState) -> None:
    """With ``check=False`` a terminal job is returned in any state."""
    server = ScriptedServer()
    server.version(9012, RUNNING, wire(9012, state))
    assert await JobWatcher(server.client(), interval=5).wait(REF, check=False) == ended(state)


@virtual_time
async def test_unchecked_a_timeout_still_raises() -> None:
    """``check=False`` applies to the job's end only: a timeout still raises."""
    server = ScriptedServer()
    server.version(9012, RUNNING)
    with pytest.raises(WatchTimeoutError):
        await JobWatcher(server.client(), interval=5).wait(REF, check=False, timeout=12)


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.FAILED, JobState.SQUASHED])
@virtual_time
async def test_a_terminal_job_is_not_polled(state: JobState) -> None:
    """A terminal job without ``newer_than`` ends its watch at once, without a poll or a pause."""
    server = ScriptedServer()
    job = ended(state)
    received: list[Job] = []
    watcher = JobWatcher(server.client())
    assert await watcher.wait(job, check=False, on_update=received.append) is job
    if state is not JobState.COMPLETED:
        with pytest.raises(JobFailedError):
            await watcher.wait(job, timeout=0)
    assert received == [job]
    assert not server.requests
    assert now() == 0


@virtual_time
async def test_a_terminal_job_from_a_retry_is_polled() -> None:
    """A terminal job returned by a retry is polled: its ``newer_than`` says that it may show the previous run."""
    server = ScriptedServer()
    server.diff(5678, wire(5678, jobupdated=START + 3), wire(5678, JobState.COMPLETED, jobupdated=START + 5))
    server.retry(5678, wire(5678, JobState.FAILED, jobupdated=START - 1000))
    client = server.client()
    job = await client.image_diffs.retry(5678)
    assert job.is_terminal
    assert (await JobWatcher(client, interval=5).wait(job)).is_completed
    assert server.polls(5678, JobKind.IMAGE_DIFF) == [0, 5]


@virtual_time
async def test_a_running_job_is_polled() -> None:
    """A job can be a target instead of a reference; a running one is polled at once."""
    server = ScriptedServer()
    server.version(9012, wire(9012, JobState.COMPLETED))
    running = job_from_dict(JobKind.IMAGE_VERSION, RUNNING)
    assert (await JobWatcher(server.client()).wait(running)).is_completed
    assert server.polls(9012) == [0]


@virtual_time
async def test_a_reference_is_polled() -> None:
    """A reference has no state, so it is polled at least once."""
    server = ScriptedServer()
    server.version(9012, wire(9012, JobState.COMPLETED))
    await JobWatcher(server.client()).wait(ended(JobState.COMPLETED).ref)
    assert server.polls(9012) == [0]


@virtual_time
async def test_the_text_of_a_reference_resumes_a_watch() -> None:
    """The text of a reference is enough to resume a watch after a restart."""
    server = ScriptedServer()
    server.version(9012, wire(9012, JobState.COMPLETED, jobupdated=START - 11), wire(9012, JobState.FAILED))
    with pytest.raises(JobFailedError):
        await JobWatcher(server.client()).wait(JobRef.parse(str(EARLIER)))
    assert len(server.polls(9012)) == 2


@pytest.mark.parametrize("target", ["image-version/9012", 9012, None, ("image-version", 9012), JobRef])
@virtual_time
async def test_an_invalid_target_raises(target: Any) -> None:
    """Anything but a reference or a job raises `TypeError` before any request, in every method."""
    server = ScriptedServer()
    server.version(9012, RUNNING)
    watcher = JobWatcher(server.client())
    with pytest.raises(TypeError, match=f"a target must be a JobRef or a Job, not {type(target).__name__}"):
        await watcher.wait(target)
    with pytest.raises(TypeError, match="a target must be a JobRef or a Job"):
        await anext(watcher.updates(target))
    with pytest.raises(TypeError, match="a target must be a JobRef or a Job"):
        await watcher.wait_all([REF, target])
    with pytest.raises(TypeError, match="a target must be a JobRef or a Job"):
        await anext(watcher.as_completed([REF, target]))
    await asyncio.sleep(1000)
    assert not server.requests


@pytest.mark.parametrize("seconds", [-1, float("nan"), "300", None, True])
@pytest.mark.parametrize("name", ["outage_tolerance", "stale_after"])
@virtual_time
async def test_an_invalid_tolerance_raises(name: str, seconds: Any) -> None:
    """A tolerance must be a number of seconds, and not negative."""
    with pytest.raises(ConfigurationError, match=f"^{name} must be a number of seconds, not negative"):
        JobWatcher(ScriptedServer().client(), **{name: seconds})


@virtual_time
async def test_an_unknown_state_does_not_end_a_watch(caplog: pytest.LogCaptureFixture) -> None:
    """An unknown state is published like any other and logged once, not once per poll."""
    server = ScriptedServer()
    unknown = wire(9012, None, jobstateid=8, jobstatename="Musing")
    server.version(9012, RUNNING, *[unknown | {"jobprogress": progress} for progress in range(50, 80)], RUNNING)
    states: list[JobState | None] = []
    with caplog.at_level(logging.WARNING), pytest.raises(WatchTimeoutError):
        await JobWatcher(server.client(), interval=1).wait(
            REF,
            timeout=40,
            on_update=lambda job: states.append(job.state),
        )
    assert [record.getMessage() for record in caplog.records] == [
        "image-version/9012: unknown state 8 ('Musing')",
    ]
    assert states == [JobState.RUNNING, *[None] * 30, JobState.RUNNING]


@virtual_time
async def test_an_unknown_first_state_does_not_end_a_watch(caplog: pytest.LogCaptureFixture) -> None:
    """An unknown state is logged and does not end a watch, even as the first state seen."""
    server = ScriptedServer()
    server.version(9012, wire(9012, None, jobstateid=8, jobstatename="Musing"), wire(9012, JobState.COMPLETED))
    assert (await JobWatcher(server.client()).wait(REF)).is_completed
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@virtual_time
async def test_failed_polls_log_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A long watch with many failed polls logs nothing at WARNING."""
    server = ScriptedServer()
    failing: list[Any] = [TimeoutError(), RUNNING] * 50
    server.version(9012, *failing, wire(9012, JobState.FAILED))
    with caplog.at_level(logging.WARNING):
        await JobWatcher(server.client(), interval=5).wait(REF, check=False)
    assert not caplog.records


@virtual_time
async def test_a_result_describes_the_end_of_a_watch() -> None:
    """A result has the reference, the last snapshot, the error, the number of polls and the elapsed seconds."""
    server = ScriptedServer()
    server.version(1, *[wire(1)] * 2, wire(1, JobState.COMPLETED))
    server.version(2, wire(2), wire(2, JobState.FAILED))
    good, bad = await JobWatcher(server.client(), interval=5).wait_all(
        [JobRef.image_version(1), JobRef.image_version(2)],
    )
    assert (good.ref, good.polls, good.elapsed, good.ok, good.error) == (JobRef.image_version(1), 3, 10.0, True, None)
    assert good.job is not None
    assert good.unwrap() is good.job
    assert good.job.is_completed
    assert (bad.ref, bad.polls, bad.elapsed, bad.ok) == (JobRef.image_version(2), 2, 5.0, False)
    assert bad.job is not None
    assert bad.job.is_failed
    with pytest.raises(JobFailedError) as caught:
        bad.unwrap()
    assert caught.value is bad.error
    assert caught.value.job is bad.job


@virtual_time
async def test_repeated_unwrap_does_not_grow_the_traceback() -> None:
    """Each `unwrap` raises the error with a fresh traceback."""
    server = ScriptedServer()
    server.version(9012, wire(9012, JobState.FAILED))
    (result,) = await JobWatcher(server.client()).wait_all([REF])
    assert result.error is not None
    lengths = set[int]()
    for _ in range(20):
        with pytest.raises(JobFailedError):
            result.unwrap()
        lengths.add(len(traceback.extract_tb(result.error.__traceback__)))
    assert len(lengths) == 1


if sys.version_info >= (3, 12):

    @virtual_time
    async def test_an_eager_task_factory_works() -> None:
        """A watch works as usual on a loop that starts tasks eagerly."""
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        server = ScriptedServer()
        server.version(9012, RUNNING, RUNNING, wire(9012, JobState.COMPLETED))
        received: list[str] = []

        async def on_update(job: Job) -> None:
            received.append(job.state_name)

        watcher = JobWatcher(server.client(), interval=5)
        assert (await watcher.wait(REF, timeout=60, on_update=on_update)).is_completed
        assert server.polls(9012) == [0, 5, 10]
        assert received == ["Running", "Completed"]


def test_a_result_is_frozen() -> None:
    """A result is frozen, keyword-only, equal by value and picklable."""
    job = ended(JobState.COMPLETED)
    result = WatchResult(ref=REF, job=job, error=None, polls=3, elapsed=12.5)
    with pytest.raises(FrozenInstanceError):
        result.polls = 4  # type: ignore[misc]  # the point of the test
    assert result == WatchResult(ref=REF, job=job, error=None, polls=3, elapsed=12.5)
    assert pickle.loads(pickle.dumps(result)) == result  # noqa: S301 - written a moment ago
    with pytest.raises(TypeError):
        WatchResult(REF, job, None, 3, 12.5)  # type: ignore[call-arg]  # keyword-only


def test_unwrap_of_an_empty_result_raises() -> None:
    """`unwrap` of a result without a job and an error raises."""
    with pytest.raises(ClanforgeError, match="image-version/9012 has no job"):
        WatchResult(ref=REF, job=None, error=None, polls=0, elapsed=0.0).unwrap()


@virtual_time
async def test_an_error_holds_the_last_snapshot() -> None:
    """The error of a timed-out watch has its reference and last snapshot, as attributes and in its text."""
    server = ScriptedServer()
    server.version(9012, RUNNING, wire(9012, jobprogress=75))
    with pytest.raises(WatchTimeoutError, match=r"image-version/9012 .*Running at 75 %") as caught:
        await JobWatcher(server.client(), interval=5).wait(REF, timeout=8)
    assert caught.value.ref == REF
    assert isinstance(caught.value.last_job, ImageVersionJob)
    assert caught.value.last_job.progress == 75


@virtual_time
async def test_a_job_target_is_the_first_snapshot() -> None:
    """If no poll succeeds, a job given as target is the last snapshot."""
    server = ScriptedServer()
    server.version(9012, ConnectionResetError())
    job = job_from_dict(JobKind.IMAGE_VERSION, RUNNING)
    with pytest.raises(WatchTimeoutError) as caught:
        await JobWatcher(server.client()).wait(job, timeout=8)
    assert caught.value.last_job is job
