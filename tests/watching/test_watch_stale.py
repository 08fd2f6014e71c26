"""Watches after a retry: the end of the previous run must not end the watch of the new one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from support.scripted_server import START, ScriptedServer, server_now, wire
from support.virtual_time import now, virtual_time

from clanforge_async import JobFailedError, JobKind, JobRef, JobState, JobWatcher, StaleJobError

RETRIED_AT = datetime.fromtimestamp(START, UTC)
REF = JobRef.image_diff(5678, newer_than=RETRIED_AT)
OLD_END = wire(5678, JobState.FAILED, jobupdated=START - 1, joberror="the run before")
NEW_RUN = wire(5678, JobState.RUNNING, jobupdated=START + 2)
NEW_END = wire(5678, JobState.COMPLETED, jobupdated=START + 9)


def polls(server: ScriptedServer) -> list[float]:
    return server.polls(5678, JobKind.IMAGE_DIFF)


@virtual_time
async def test_the_end_of_the_previous_run_is_ignored() -> None:
    """Stale statuses neither end the watch nor are published; the first status of the new run is published."""
    server = ScriptedServer()
    server.diff(5678, OLD_END, OLD_END, NEW_RUN, NEW_END)
    received: list[str | None] = []
    job = await JobWatcher(server.client(), interval=5).wait(REF, on_update=lambda job: received.append(job.state_name))
    assert job.is_completed
    assert received == ["Running", "Completed"]
    assert polls(server) == [0, 1, 3, 8]


@virtual_time
async def test_a_retried_diff_is_watched_by_its_own_ref() -> None:
    """The job that `retry` returns, or the text of its ref, selects the new run."""
    for as_text in (False, True):
        server = ScriptedServer()
        server.retry(5678, wire(5678, JobState.QUEUED, jobupdated=START + int(now())))
        server.diff(5678, OLD_END, wire(5678, JobState.COMPLETED, jobupdated=START + int(now())))
        client = server.client()
        job = await client.image_diffs.retry(5678)
        target = JobRef.parse(str(job.ref)) if as_text else job
        assert (await JobWatcher(client).wait(target)).is_completed
        assert len(polls(server)) == 2


@virtual_time
async def test_a_retry_that_returns_the_old_run_is_watched_correctly() -> None:
    """If the retry itself returns the old end, a status updated in that same second is stale too."""
    server = ScriptedServer()
    server.retry(5678, OLD_END)
    server.diff(5678, OLD_END, OLD_END, NEW_RUN, NEW_END)
    client = server.client()
    job = await client.image_diffs.retry(5678)
    assert job.is_failed
    assert (await JobWatcher(client).wait(job)).is_completed


@pytest.mark.parametrize(("offset", "polled"), [(-1, 2), (0, 1), (1, 1)])
@virtual_time
async def test_a_status_of_the_same_second_counts(offset: int, polled: int) -> None:
    """A status updated in the second of ``newer_than``, or later, ends the watch; one a second earlier does not."""
    server = ScriptedServer()
    server.diff(5678, wire(5678, JobState.COMPLETED, jobupdated=START + offset), NEW_END)
    await JobWatcher(server.client()).wait(REF)
    assert len(polls(server)) == polled


@virtual_time
async def test_the_new_run_can_fail() -> None:
    """A failure of the new run ends the watch, with the new run's message."""
    server = ScriptedServer()
    server.diff(5678, OLD_END, wire(5678, JobState.FAILED, jobupdated=START + 3, joberror="again"))
    with pytest.raises(JobFailedError, match="failed: again"):
        await JobWatcher(server.client()).wait(REF)


@pytest.mark.parametrize("stale_after", [0, 10, 120, 1000])
@virtual_time
async def test_stale_for_too_long_raises(stale_after: float) -> None:
    """`StaleJobError`, with reference and last snapshot, is raised on time if no newer status is seen."""
    server = ScriptedServer()
    server.diff(5678, OLD_END)
    with pytest.raises(StaleJobError, match=r"image-diff/5678@1763769600 .*Failed") as caught:
        await JobWatcher(server.client(), stale_after=stale_after).wait(REF)
    assert now() == stale_after
    assert caught.value.ref == REF
    assert caught.value.last_job is not None
    assert caught.value.last_job.error == "the run before"


@virtual_time
async def test_the_default_stale_after_is_two_minutes() -> None:
    """By default a watch gives up after 120 s of stale statuses."""
    server = ScriptedServer()
    server.diff(5678, OLD_END)
    with pytest.raises(StaleJobError):
        await JobWatcher(server.client()).wait(REF)
    assert now() == 120


@virtual_time
async def test_a_running_job_can_be_stale() -> None:
    """Staleness depends on the status's time, not on its state."""
    server = ScriptedServer()
    server.diff(5678, wire(5678, JobState.RUNNING, jobupdated=START - 1))
    with pytest.raises(StaleJobError):
        await JobWatcher(server.client(), stale_after=30).wait(REF)


@virtual_time
async def test_wait_all_reports_a_stale_watch() -> None:
    """`wait_all` reports a stale watch, with the stale snapshot as the last one seen."""
    server = ScriptedServer()
    server.diff(5678, OLD_END)
    (result,) = await JobWatcher(server.client(), stale_after=30).wait_all([REF])
    assert isinstance(result.error, StaleJobError)
    assert result.job is result.error.last_job is not None
    assert result.elapsed == 30


@virtual_time
async def test_updates_skip_the_previous_run() -> None:
    """`updates` yields snapshots of the new run only, and raises if there are none."""
    server = ScriptedServer()
    server.diff(5678, OLD_END, NEW_RUN, OLD_END, NEW_END)
    watcher = JobWatcher(server.client(), stale_after=30)
    assert [job.state_name async for job in watcher.updates(REF)] == ["Running", "Completed"]
    server.diff(5678, OLD_END)
    with pytest.raises(StaleJobError):
        _ = [job async for job in watcher.updates(REF)]


@virtual_time
async def test_without_newer_than_nothing_is_stale() -> None:
    """A reference without ``newer_than`` accepts every status."""
    server = ScriptedServer()
    server.diff(5678, OLD_END)
    with pytest.raises(JobFailedError, match="the run before"):
        await JobWatcher(server.client()).wait(JobRef.image_diff(5678))
    assert polls(server) == [0]


@virtual_time
async def test_stale_after_counts_from_the_first_stale_status() -> None:
    """An outage before the first status does not count towards ``stale_after``."""
    server = ScriptedServer()
    server.on(
        "imagediff/status",
        5678,
        lambda: ConnectionResetError() if server_now() < START + 100 else OLD_END,
    )
    with pytest.raises(StaleJobError):
        await JobWatcher(server.client(), stale_after=20).wait(REF)
    first_answer = next(at for at in polls(server) if at >= 100)
    assert now() == first_answer + 20
