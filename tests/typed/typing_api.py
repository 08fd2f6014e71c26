"""The public API as users would write it: checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, assert_type

import httpx
from temporalio.client import Client as TemporalClient
from temporalio.worker import Plugin
from tenacity import wait_fixed, wait_random

from clanforge_async import (
    CLANFORGE_URL,
    MULTIPLAY_URL,
    AbortResult,
    AccessKeyAuth,
    APIError,
    AuthenticationError,
    BadRequestError,
    BearerTokenAuth,
    ClanforgeClient,
    ClanforgeError,
    ConfigurationError,
    GoogleSource,
    ImageDiffJob,
    ImageLockedError,
    ImageRelease,
    ImageRollout,
    ImageUpdateJob,
    ImageVersionJob,
    InvalidResponseError,
    Job,
    JobFailedError,
    JobForecast,
    JobHistory,
    JobKind,
    JobRef,
    JobSquashedError,
    JobState,
    JobWatcher,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitError,
    ReleaseError,
    ReleaseEvent,
    ReleasePlan,
    Releaser,
    ReleaseRejectedError,
    ReleaseResult,
    ReleaseStep,
    ReleaseSupersededError,
    ReleaseTimeoutError,
    ReleaseToken,
    RequestTimeoutError,
    RetryOutcomeUnknownError,
    RolloutError,
    S3Source,
    ServerError,
    StaleJobError,
    SteamSource,
    TransportError,
    WatchClosedError,
    WatchResult,
    WatchTimeoutError,
    job_from_dict,
    job_to_dict,
    until_eta,
)
from clanforge_async.engine import Finished, PollAgain, WatchPolicy, WatchState, poll_once
from clanforge_async.temporal import ClanforgePlugin, TemporalWatcher, set_max_rate


def clients() -> list[ClanforgeClient]:
    """Construct clients in every supported way."""
    addresses: list[str] = [CLANFORGE_URL, MULTIPLAY_URL]
    assert_type(addresses, list[str])
    return [
        ClanforgeClient(("access key", "secret key"), account_service_id=7),
        ClanforgeClient(AccessKeyAuth("access key", "secret key"), account_service_id=7, base_url=CLANFORGE_URL),
        ClanforgeClient(BearerTokenAuth("token")),
        ClanforgeClient(httpx.DigestAuth("name", "password"), base_url=MULTIPLAY_URL),
        ClanforgeClient(
            BearerTokenAuth("token"),
            account_service_id=None,
            base_url=None,
            timeout=httpx.Timeout(5.0),
            max_retries=0,
            max_rate=None,
            max_concurrency=4,
            max_response_bytes=2**20,
            transport=httpx.MockTransport(lambda _: httpx.Response(200)),
        ),
        ClanforgeClient(BearerTokenAuth("token"), timeout=5, max_rate=1),
        ClanforgeClient.from_env(),
        ClanforgeClient.from_env(max_rate=5.0, timeout=10.0),
    ]


class OurClient(ClanforgeClient):
    """A subclass keeps its type."""


async def calls(diff_id: int, image_version_id: int) -> None:
    """Make every call."""
    async with OurClient.from_env() as client:
        assert_type(client, OurClient)
        assert_type(await client.image_diffs.retry(diff_id), ImageDiffJob)
        assert_type(await client.image_diffs.status(diff_id), ImageDiffJob)
        assert_type(await client.image_diffs.status(diff_id, include_details=True), ImageDiffJob)
        assert_type(await client.image_versions.status(image_version_id), ImageVersionJob)
        assert_type(await client.image_updates.status(5), ImageUpdateJob)
        assert_type(await client.image_updates.retry(5), ImageUpdateJob)
        assert_type(client.max_concurrency, int)
        assert_type(client.max_rate, float | None)
    assert_type(await client.aclose(), None)


def jobs(diff: ImageDiffJob, version: ImageVersionJob) -> None:
    """Read every attribute of jobs."""
    job: Job = diff
    assert_type(job.id, int)
    assert_type(job.kind, JobKind)
    assert_type(job.state, JobState | None)
    assert_type(job.state_id, int | None)
    assert_type(job.state_name, str)
    assert_type(job.created_at, datetime)
    assert_type(job.updated_at, datetime)
    assert_type(job.started_at, datetime | None)
    assert_type(job.eta, datetime | None)
    assert_type(job.progress, int)
    assert_type(job.failure_count, int)
    assert_type(job.error, str | None)
    assert_type(job.is_terminal, bool)
    assert_type(job.is_completed, bool)
    assert_type(job.is_failed, bool)
    assert_type(job.ref, JobRef)
    assert_type(diff.raise_for_failure(), ImageDiffJob)
    assert_type(version.raise_for_failure(), ImageVersionJob)
    assert_type(diff.diff_id, int)
    assert_type(diff.added, Mapping[str, Any])
    assert_type(diff.modified, Mapping[str, Any])
    assert_type(diff.removed, Mapping[str, Any])
    if diff.details is not None:
        assert_type(diff.details.game, Mapping[str, Any] | None)
        assert_type(diff.details.machine, Mapping[str, Any] | None)
        assert_type(diff.details.image, Mapping[str, Any] | None)
    assert_type(version.image_version_id, int)
    assert_type(version.success, bool)
    assert_type(diff.is_empty, bool | None)
    assert_type(JobState.RUNNING.is_terminal, bool)
    numbers: list[int] = [JobState.RUNNING]
    texts: list[str] = [JobKind.IMAGE_DIFF]
    assert_type((numbers, texts), tuple[list[int], list[str]])


def made_by_hand(moment: datetime) -> list[Job]:
    """Construct jobs, as users' tests do."""
    return [
        ImageDiffJob(id=5, state=JobState.RUNNING, created_at=moment, updated_at=moment),
        ImageVersionJob(
            id=9,
            state=None,
            state_id=8,
            state_name="Rolling back",
            created_at=moment,
            updated_at=moment,
            started_at=moment,
            eta=None,
            progress=40,
            failure_count=1,
            error="no space left",
            success=True,
        ),
    ]


def wire(job: ImageDiffJob, body: Mapping[str, Any], kind: JobKind) -> None:
    """Serialize and parse jobs."""
    assert_type(job_to_dict(job), dict[str, Any])
    assert_type(job_from_dict(JobKind.IMAGE_DIFF, body), ImageDiffJob)
    assert_type(job_from_dict(JobKind.IMAGE_VERSION, body), ImageVersionJob)
    assert_type(job_from_dict(kind, body), ImageUpdateJob | ImageDiffJob | ImageVersionJob)


def references(moment: datetime) -> None:
    """Construct references and read them."""
    ref = JobRef.parse("image-diff/5678@1763769600")
    assert_type(ref, JobRef)
    assert_type(JobRef.image_diff(5678), JobRef)
    assert_type(JobRef.image_version(9012), JobRef)
    assert_type(JobRef(JobKind.IMAGE_DIFF, 5678, moment), JobRef)
    assert_type(JobRef(kind=JobKind.IMAGE_DIFF, id=5678, newer_than=None), JobRef)
    assert_type(ref.kind, JobKind)
    assert_type(ref.id, int)
    assert_type(ref.newer_than, datetime | None)
    assert_type({ref: str(ref)}, dict[JobRef, str])


async def watching(client: ClanforgeClient, target: JobRef, job: Job) -> None:
    """Watch jobs in every supported way."""

    def on_update(snapshot: Job) -> None:
        assert_type(snapshot, Job)

    async def on_update_async(snapshot: Job) -> None:
        assert_type(snapshot, Job)

    def on_error(ref: JobRef, error: ClanforgeError) -> None:
        assert_type((ref, error), tuple[JobRef, ClanforgeError])

    async def on_error_async(ref: JobRef, error: ClanforgeError) -> None:
        assert_type((ref, error), tuple[JobRef, ClanforgeError])

    JobWatcher(client, interval=5, timeout=3600, outage_tolerance=60, stale_after=60.0)
    JobWatcher(client, interval=until_eta(min=2.0, max=30.0) + wait_random(0, 1), timeout=None)
    JobWatcher(client, interval=until_eta(max_waiting=60.0), history=JobHistory())
    async with JobWatcher(client, interval=wait_fixed(5)) as watcher:
        assert_type(watcher, JobWatcher)
        assert_type(await watcher.wait(target), Job)
        assert_type(await watcher.wait(job, timeout=60.0, check=False, on_update=on_update), Job)
        assert_type(await watcher.wait(job, timeout=None, on_update=on_update_async, on_error=on_error_async), Job)
        async for snapshot in watcher.updates(target, timeout=60):
            assert_type(snapshot, Job)
        results = await watcher.wait_all([target, job], timeout=60, on_update=on_update, on_error=on_error)
        assert_type(results, list[WatchResult])
        async for result in watcher.as_completed({target}, on_update=on_update_async, on_error=on_error_async):
            assert_type(result, WatchResult)
        assert_type(watcher.forecast(job), JobForecast | None)
    assert_type(await watcher.aclose(), None)


def forecasts(forecast: JobForecast, history: JobHistory) -> None:
    """Read forecasts, and write a history."""
    assert_type(forecast.p50, datetime)
    assert_type(forecast.p90, datetime)
    JobHistory(path="history.jsonl")
    history.label = str
    assert_type(history.add("image-diff", 12.5, JobState.COMPLETED), None)
    assert_type(history.durations("image-diff"), tuple[float, ...])


async def kinds(
    watcher: JobWatcher,
    diff: ImageDiffJob,
    version: ImageVersionJob,
    either: ImageUpdateJob | ImageDiffJob | ImageVersionJob,
    anything: JobRef | Job,
) -> None:
    """Wait for jobs of known kinds."""
    assert_type(await watcher.wait(diff), ImageDiffJob)
    assert_type((await watcher.wait(diff, timeout=60)).diff_id, int)
    assert_type(await watcher.wait(version, check=False), ImageVersionJob)
    assert_type(await watcher.wait(either), ImageUpdateJob | ImageDiffJob | ImageVersionJob)
    assert_type(await watcher.wait(anything), Job)


def results(result: WatchResult) -> None:
    """Read results of watches."""
    assert_type(result.ref, JobRef)
    assert_type(result.job, Job | None)
    assert_type(result.error, Exception | None)
    assert_type(result.polls, int)
    assert_type(result.elapsed, float)
    assert_type(result.ok, bool)
    assert_type(result.unwrap(), Job)


async def errors_of_calls(client: ClanforgeClient) -> None:
    """Catch errors of calls and read their attributes."""
    try:
        await client.image_diffs.retry(5)
    except RequestTimeoutError as error:
        timeout: TimeoutError = error
        assert_type(timeout.args, tuple[Any, ...])
        assert_type(error.request_sent, bool)
    except TransportError as error:
        assert_type(error.request_sent, bool)
    except ImageLockedError as error:
        assert_type(error.holder, JobRef)
        assert_type((error.diff_id, error.update_id), tuple[int | None, int | None])
    except RateLimitError as error:
        assert_type(error.retry_after, float | None)
    except (BadRequestError, AuthenticationError, PermissionDeniedError, NotFoundError, ServerError) as error:
        assert_type(error.status_code, int)
    except APIError as error:
        assert_type(error.error_code, int | None)
        assert_type((error.message, error.method, error.url, error.body), tuple[str, str, str, str])
    except InvalidResponseError as error:
        assert_type((error.fields, error.body), tuple[tuple[str, ...], str])
    except RetryOutcomeUnknownError as error:
        assert_type(error.ref, JobRef)
        assert_type((error.diff_id, error.update_id), tuple[int | None, int | None])
    except OutcomeUnknownError as error:
        assert_type(error.call, str)
        assert_type((error.candidate, error.lock), tuple[JobRef | None, JobRef | None])


async def errors_of_watches(watcher: JobWatcher, target: JobRef) -> None:
    """Catch errors of watches and read their attributes."""
    try:
        await watcher.wait(target)
    except JobSquashedError as error:
        failed: JobFailedError = error
        assert_type(failed.job, Job)
    except JobFailedError as error:
        assert_type(error.job, Job)
    except (StaleJobError, WatchClosedError) as error:
        assert_type((error.ref, error.last_job), tuple[JobRef, Job | None])
        assert_type(error.last_error, ClanforgeError | None)
    except WatchTimeoutError as error:
        late: TimeoutError = error
        assert_type(late.args, tuple[Any, ...])
        assert_type((error.ref, error.last_job), tuple[JobRef, Job | None])
        assert_type(error.last_error, ClanforgeError | None)
    except ConfigurationError as error:
        value_error: ValueError = error
        assert_type(value_error.args, tuple[Any, ...])
    except ClanforgeError as error:
        assert_type(error.args, tuple[Any, ...])


def sources() -> None:
    """Construct sources of image updates in every supported way."""
    s3 = S3Source("bucket", "folder", "access key", "secret key", region="eu-west-1", handlers=5, request_timeout=120)
    steam = SteamSource("730", "user", "password", platform="linux", bits=64, branch="beta", branch_password="open")
    google = GoogleSource("bucket", "folder", {"type": "service_account"}, handlers=5, request_timeout="2m")
    assert_type(S3Source("bucket", "folder", "access key", "secret key").request_timeout, str | None)
    assert_type(SteamSource(730, guard_code="code", mod="mod").app_id, int)
    assert_type(GoogleSource("bucket", "folder", '{"type": "service_account"}').credentials, str)
    for source in (s3, steam, google):
        assert_type(source.url(), str)
        assert_type(source.masked_url, str)


async def releases(client: ClanforgeClient, watcher: JobWatcher, token: ReleaseToken) -> None:
    """Release images in every supported way."""
    image = ImageRelease(501, 77, "build", SteamSource(730), game_build="2.0", restart=True, on_empty="full")
    assert_type((image.image_id, image.description), tuple[int, str])
    Releaser(client, history=JobHistory())
    async with Releaser(
        client,
        watcher=watcher,
        journal="releases/",
        exclusive=True,
        lock_wait=60.0,
        job_retries=1,
        settle=120.0,
        tolerate_failed=1,
    ) as releaser:
        result = await releaser.run(
            image,
            approve=lambda diff: not diff.removed,
            resume=token,
            unknown="repeat",
            timeout=3600.0,
            step_timeouts={ReleaseStep.UPDATE: 600.0},
            on_event=follow,
        )
        assert_type(result.unwrap(), ReleaseResult)
        assert_type((result.update, result.diff), tuple[ImageUpdateJob | None, ImageDiffJob | None])
        assert_type((result.version, result.rollout), tuple[ImageVersionJob | None, ImageRollout | None])
        assert_type((result.token, result.ok, result.elapsed), tuple[ReleaseToken, bool, float])
        assert_type(await releaser.run_all([image], approve="hold"), list[ReleaseResult])
        plan = await releaser.check(image)
        assert_type((plan, plan.lock), tuple[ReleasePlan, JobRef | None])
        aborted = await releaser.abort(str(token), reinstall=False, timeout=60.0)
        assert_type((aborted, aborted.version), tuple[AbortResult, JobRef | None])
    assert_type(ReleaseToken.parse("release/1:"), ReleaseToken)


async def follow(event: ReleaseEvent) -> None:
    """Follow a release by its events."""
    assert_type((event.release, event.step, event.token), tuple[ImageRelease, ReleaseStep, ReleaseToken])
    assert_type((event.job, event.rollout, event.at), tuple[Job | None, ImageRollout | None, datetime])


async def errors_of_releases(releaser: Releaser, image: ImageRelease) -> None:
    """Catch errors of releases and read their attributes."""
    try:
        await releaser.run(image)
    except RolloutError as error:
        assert_type(error.rollout, ImageRollout)
    except (ReleaseRejectedError, ReleaseSupersededError) as error:
        assert_type((error.step, error.token), tuple[ReleaseStep, ReleaseToken])
    except ReleaseTimeoutError as error:
        late: TimeoutError = error
        assert_type(late.args, tuple[Any, ...])
    except ReleaseError as error:
        assert_type((error.token, error.job), tuple[ReleaseToken, Job | None])


async def steps(client: ClanforgeClient, target: JobRef, job: Job) -> None:
    """Drive a watch step by step, with plain data between the steps."""
    state = WatchState.start(job, 0.0)
    assert_type(state, WatchState)
    assert_type(WatchState.from_dict(WatchState.start(target, at=0.0).to_dict()), WatchState)
    policy = WatchPolicy(interval=wait_fixed(5), outage_tolerance=300.0, stale_after=120.0)
    step = await poll_once(client, state, policy, at=0.0, clock=lambda: 0.0, deadline=60.0, backlog=0.0, least=1.0)
    if isinstance(step, PollAgain):
        assert_type((step.state, step.after, step.news), tuple[WatchState, float, Job | None])
    else:
        assert_type(step, Finished)
        assert_type(WatchResult.from_dict(step.result.to_dict()), WatchResult)


async def watching_on_temporal(
    client: ClanforgeClient, temporal: TemporalClient, target: JobRef, diff: ImageDiffJob
) -> None:
    """Watch on Temporal."""
    plugin: Plugin = ClanforgePlugin(client, interval=5.0, outage_tolerance=300.0, stale_after=120.0)
    assert_type(plugin.name(), str)
    watcher = TemporalWatcher(temporal, task_queue="clanforge", timeout=None)
    assert_type(await watcher.wait(target, timeout=60, check=False, on_update=print, id="release-42"), Job)
    assert_type(await watcher.wait(diff), ImageDiffJob)
    assert_type([job async for job in watcher.updates(target, id="release-42")], list[Job])
    assert_type(await watcher.wait_all([target, diff], timeout=60, on_update=print, id=None), list[WatchResult])
    assert_type([result async for result in watcher.as_completed([target])], list[WatchResult])
    assert_type([result async for result in watcher.resume("release-42", on_update=print)], list[WatchResult])
    assert_type(await watcher.cancel("release-42"), None)
    assert_type(await set_max_rate(temporal, None, task_queue="clanforge"), None)
