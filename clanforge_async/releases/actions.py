"""Carries out the actions of a release: API calls, watches, approvals and pauses."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeAlias

from clanforge_async.client import ClanforgeClient
from clanforge_async.jobs import ImageDiffJob, Job
from clanforge_async.refs import JobKind, JobRef
from clanforge_async.releases.installs import SharedInstalls
from clanforge_async.releases.journal import Writer
from clanforge_async.releases.labels import watching_job_of
from clanforge_async.releases.release import ImageRelease
from clanforge_async.releases.state import (
    Action,
    Ask,
    CreateJob,
    CreateVersion,
    Observation,
    Pause,
    ReadJob,
    ReadOptions,
    ReadRollout,
    RejectDiff,
    RetryJob,
    Watch,
)
from clanforge_async.releases.token import Call
from clanforge_async.releases.turns import Turns
from clanforge_async.watcher import JobWatcher

Approve: TypeAlias = Callable[[ImageDiffJob], Awaitable[bool] | bool] | bool | Literal["hold"] | None
OnJob: TypeAlias = Callable[[Job], Awaitable[object]]


class Services:
    """Services shared by all releases of a releaser.

    Attributes:
        client: The client.
        watcher: The watcher of all jobs.
        journal: Stores the tokens.
        turns: Queues of the releases that need the same image or build machine.
        installs: The account's list of installs.
    """

    def __init__(self, client: ClanforgeClient, watcher: JobWatcher, journal: Writer) -> None:
        self.client = client
        self.watcher = watcher
        self.journal = journal
        self.turns: Turns = Turns()
        self.installs: SharedInstalls = SharedInstalls(client.image_installs.list)

    def server_time(self) -> float:
        """Return the server's time in Unix seconds; the local clock's before the first ``Date`` header."""
        now = self.client.server_now()
        return time.time() if now is None else now


class ActionRunner:
    """Carries out the actions of a release or of its abort.

    Args:
        services: Services shared by the releases.
        image_id: The image.
        on_job: Called with each snapshot of a watched job.
    """

    def __init__(self, services: Services, image_id: int, on_job: OnJob | None = None) -> None:
        self._services = services
        self._client = services.client
        self._image_id = image_id
        self._on_job = on_job

    async def run(self, action: Action) -> Observation:
        """Carry out an action, and return its result or its error."""
        try:
            result = await self._run(action)
        except Exception as error:  # noqa: BLE001 - the decisions handle every error
            result = error
        return Observation(
            result=result, at=asyncio.get_running_loop().time(), server_time=self._services.server_time()
        )

    async def _run(self, action: Action) -> Any:
        match action:
            case ReadOptions():
                return await self._client.images.options(self._image_id)
            case ReadJob(ref):
                return await self._read_job(ref)
            case Watch(ref):
                with watching_job_of(self._image_id):
                    return await self._services.watcher.wait(ref, check=False, on_update=self._on_job)
            case RejectDiff(ref, reinstall):
                return await self._client.image_diffs.reject(ref.id, reinstall=reinstall, image_id=self._image_id)
            case Pause(seconds):
                return await asyncio.sleep(seconds)
            case _:
                msg = f"an abort has no action {action}"
                raise TypeError(msg)

    async def _read_job(self, ref: JobRef) -> Job:
        if ref.kind is JobKind.IMAGE_UPDATE:
            return await self._client.image_updates.status(ref.id)
        if ref.kind is JobKind.IMAGE_DIFF:
            return await self._client.image_diffs.status(ref.id)
        return await self._client.image_versions.status(ref.id)


class ReleaseActionRunner(ActionRunner):
    """Carries out the actions of a release.

    Args:
        services: Services shared by the releases.
        release: The release.
        approve: The decision about the diff, or a function that makes it.
        on_job: As for `ActionRunner`.
    """

    def __init__(self, services: Services, release: ImageRelease, approve: Approve, on_job: OnJob) -> None:
        super().__init__(services, release.image_id, on_job)
        self._release = release
        self._approve = approve

    async def _run(self, action: Action) -> Any:
        match action:
            case ReadRollout():
                rollout = await self._client.images.rollout(self._image_id)
                return rollout, await self._services.installs.read()
            case Ask(diff):
                return await self._ask(diff)
            case CreateJob(call):
                return await self._create_job(call)
            case RetryJob(ref):
                is_update = ref.kind is JobKind.IMAGE_UPDATE
                return await (self._client.image_updates if is_update else self._client.image_diffs).retry(ref.id)
            case CreateVersion(ref, full):
                return await self._create_version(ref.id, full=full)
            case _:
                return await super()._run(action)

    async def _ask(self, diff: ImageDiffJob) -> bool | str:
        approve = self._approve
        if not callable(approve):
            return True if approve is None else approve
        answer = approve(diff)
        if inspect.isawaitable(answer):
            answer = await answer
        if not isinstance(answer, bool):
            msg = f"approve must return a bool, not {type(answer).__name__}"
            raise TypeError(msg)
        return answer

    async def _create_job(self, call: Call) -> Job:
        release = self._release
        if call is Call.DIFF:
            return await self._client.image_diffs.create(release.image_id, release.machine_id)
        return await self._client.image_updates.create(
            release.image_id, release.machine_id, release.description, release.source
        )

    async def _create_version(self, diff_id: int, *, full: bool) -> Job:
        release = self._release
        return await self._client.image_versions.create(
            diff_id,
            restart=release.restart,
            full=full,
            force=release.force,
            game_build=release.game_build,
            install_at=release.install_at,
            straggler_policy=release.straggler_policy,
            image_id=release.image_id,
        )
