"""What the commands about jobs do: ask, watch, and present what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from clanforge_async import ClanforgeClient, ImageDiffJob, Job, JobFailedError, JobKind, JobRef, JobWatcher, WatchResult
from clanforge_async.cli.complaints import complain, say_how_to_resume
from clanforge_async.cli.options import Access, Pace
from clanforge_async.cli.outcomes import COMPLETED, worst_status
from clanforge_async.cli.presenters import Presenter
from clanforge_async.cli.show import Show
from clanforge_async.cli.text import say


async def show_status(access: Access, ref: JobRef, show: Show) -> int:
    """Read a job once and show it."""
    async with access.client() as client:
        calls = client.image_diffs if ref.kind is JobKind.IMAGE_DIFF else client.image_versions
        job: Job = await calls.status(ref.id)
    with show.presenter() as presenter:
        presenter.snapshot("status", ref, job)
    job.raise_for_failure()
    return COMPLETED


async def retry(access: Access, diff_id: int, pace: Pace | None, show: Show) -> int:
    """Ask once for a retry of an image diff and, given a pace, watch the run that it starts."""
    async with access.client() as client:
        job = await _retried(client, diff_id)
        with show.presenter() as presenter:
            presenter.snapshot("retry", job.ref, job)
        if pace is not None:
            return await _watched(client, [job.ref], pace, show)
    say_how_to_resume("asked for", [job.ref])
    return COMPLETED


async def watch(access: Access, refs: Sequence[JobRef], pace: Pace, show: Show) -> int:
    """Watch jobs until all of them have ended."""
    async with access.client() as client:
        return await _watched(client, refs, pace, show)


async def follow(
    watcher: JobWatcher, refs: Sequence[JobRef], presenter: Presenter
) -> AsyncGenerator[WatchResult, None]:
    """Watch jobs and present what happens to them; yields how they ended, as they end."""
    events: asyncio.Queue[tuple[JobRef, Job] | WatchResult | None] = asyncio.Queue()

    async def attend(ref: JobRef) -> None:
        # One by one, so that each snapshot is known by the reference that was asked for. Presenting is left to the
        # loop below, since a watcher would carry on after a listener that can no longer write.
        [result] = await watcher.wait_all([ref], on_update=lambda job: events.put_nowait((ref, job)))
        events.put_nowait(result)

    async def attend_all() -> None:
        try:
            await asyncio.gather(*map(attend, refs))
        finally:
            events.put_nowait(None)

    watching = asyncio.create_task(attend_all())
    try:
        with presenter:
            while (event := await events.get()) is not None:
                if isinstance(event, WatchResult):
                    presenter.result(event)
                    yield event
                else:
                    presenter.snapshot("update", *event)
        await watching
    finally:
        watching.cancel()
        await asyncio.wait({watching})


async def _watched(client: ClanforgeClient, refs: Sequence[JobRef], pace: Pace, show: Show) -> int:
    unfinished, results = list(refs), list[WatchResult]()
    try:
        async with pace.watcher(client) as watcher, aclosing(follow(watcher, refs, show.presenter(refs))) as ends:
            async for result in ends:
                unfinished.remove(result.ref)
                results.append(result)
                if pace.fail_fast and isinstance(result.error, JobFailedError):
                    break
    except asyncio.CancelledError:
        say_how_to_resume("interrupted", unfinished)
        raise
    complain(results, left=unfinished)
    return worst_status(results)


async def _retried(client: ClanforgeClient, diff_id: int) -> ImageDiffJob:
    try:
        return await client.image_diffs.retry(diff_id)
    except asyncio.CancelledError:
        say(f"the retry may or may not have happened: see `clanforge image-diff status {diff_id}` before asking again")
        raise
