"""Release images on Temporal: a release continues if its worker crashes, and no call with a side effect is sent twice.

    python release_on_temporal.py releases     # a worker for the task queue "releases"

Run any number of workers. Start a release with Temporal's own command line, and approve its diff once it is held:

    temporal workflow start --fail-existing --task-queue releases --type release-image \
        --workflow-id build-machine-77 --input '{"image_id": 501, "machine_id": 77, "description": "build 1.4.2"}'
    temporal workflow update execute --workflow-id build-machine-77 --name answer --input true

The input has the arguments of `ImageRelease`. The source is that of the variable CLANFORGE_SOURCE_URL in the workers'
environment, or else the image's own. Credentials come from the workers' environment too, see
`ClanforgeClient.from_env`; none are sent to the Temporal server.
"""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.envconfig import ClientConfig
from temporalio.exceptions import ActivityError, ApplicationError, TemporalError, is_cancelled_exception
from temporalio.worker import Worker

from clanforge_async import ClanforgeClient, ImageRelease, JobWatcher, ReleaseError, Releaser, ReleaseToken

EXCLUSIVE = False  # True: you promise that no other program releases these images; see `Releaser`
HEARTBEAT_TIMEOUT = timedelta(seconds=10)  # if a worker is silent for longer, another takes over
PAUSE = timedelta(seconds=10)  # before the next attempt, if a worker could not continue


@workflow.defn(name="release-image", sandboxed=False)
class ReleaseWorkflow:
    """Keeps the token of a release, and the decision about its diff."""

    def __init__(self) -> None:
        self._token: str | None = None
        self._attempt = 0
        self._is_held = False
        self._answer: bool | None = None

    @workflow.run
    async def run(self, release: dict[str, Any]) -> dict[str, Any]:
        """Release an image, and return the outcome and the token.

        Args:
            release: The arguments of `ImageRelease`, without the source.
        """
        # At most one workflow with an id is open, so at most one release at a time uses a build machine.
        if workflow.info().workflow_id != workflow_id(release):
            msg = f"start it with the workflow id {workflow_id(release)}"
            raise ApplicationError(msg, non_retryable=True)
        while True:
            result = await self._advance(release)
            if result["outcome"] != "held":
                return result
            self._is_held = True
            await workflow.wait_condition(lambda: self._answer is not None)
            self._is_held = False

    async def _advance(self, release: dict[str, Any]) -> dict[str, Any]:
        """Continue from the token until the release ends or is held; if a worker crashes, continue with another."""
        while True:
            self._attempt += 1
            try:
                result: dict[str, Any] = await workflow.execute_activity(
                    "advance-release",
                    args=[release, self._token, self._answer, self._attempt],
                    heartbeat_timeout=HEARTBEAT_TIMEOUT,
                    start_to_close_timeout=timedelta(days=1),
                    retry_policy=RetryPolicy(maximum_attempts=1),  # a retry would start from the same old token
                )
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                if isinstance(error.cause, ApplicationError):  # the worker has not crashed
                    if error.cause.non_retryable:
                        raise
                    await workflow.sleep(PAUSE)
            else:
                return result

    @workflow.update
    async def keep(self, attempt: int, token: str) -> None:  # noqa: ARG002 - the validator's
        """Store the token of the release: this is the release's journal."""
        self._token = token

    @keep.validator
    def check_attempt(self, attempt: int, token: str) -> None:  # noqa: ARG002 - the signature of keep
        """Refuse the tokens of a worker that was silent for too long, so that it sends nothing more."""
        if attempt != self._attempt:
            msg = "another worker has taken over"
            raise ValueError(msg)

    @workflow.update
    async def answer(self, approved: bool) -> None:
        """Store the decision: whether the diff is approved."""
        self._answer = approved

    @answer.validator
    def check_held(self, approved: bool) -> None:  # noqa: ARG002 - the signature of answer
        """Refuse a decision that is sent before the diff is held."""
        if not self._is_held:
            msg = "no diff waits for an answer"
            raise ValueError(msg)


class Activities:
    """Releases images with a worker's client and watcher."""

    def __init__(self, client: ClanforgeClient, watcher: JobWatcher) -> None:
        self._client = client
        self._watcher = watcher

    @activity.defn(name="advance-release")
    async def advance(
        self, release: dict[str, Any], token: str | None, answer: bool | None, attempt: int
    ) -> dict[str, Any]:
        """Continue a release from its token until it ends or is held."""
        run_id = activity.info().workflow_run_id
        handle = activity.client().get_workflow_handle(workflow_id(release), run_id=run_id)

        async def keep(token: ReleaseToken) -> None:
            # Returns once the token is in the workflow's history. A heartbeat would be sent later, or never.
            await handle.execute_update(  # pyright: ignore[reportUnknownMemberType] - a type argument is missing there
                "keep", args=[attempt, str(token)], rpc_timeout=timedelta(seconds=30)
            )

        releaser = Releaser(self._client, watcher=self._watcher, journal=keep, exclusive=EXCLUSIVE)
        async with heartbeats():
            try:
                order = ImageRelease(**release, source=os.environ.get("CLANFORGE_SOURCE_URL"))
                result = await releaser.run(order, approve="hold" if answer is None else answer, resume=token)
            except ReleaseError as error:
                if isinstance(error.__cause__, TemporalError):
                    raise error.__cause__ from None  # the token was not stored, so nothing more was sent
                raise final(error, f"{error}; token: {error.token}") from None
            except (TypeError, ValueError) as error:
                raise final(error, f"not a release: {error}") from None
        return {"outcome": result.outcome, "token": str(result.token)}


def workflow_id(release: dict[str, Any]) -> str:
    return f"build-machine-{release.get('machine_id')}"


def final(error: Exception, message: str) -> ApplicationError:
    return ApplicationError(message, type=type(error).__name__, non_retryable=True)


@asynccontextmanager
async def heartbeats() -> AsyncGenerator[None]:
    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(HEARTBEAT_TIMEOUT.total_seconds() / 3)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()


async def main(task_queue: str) -> None:
    temporal = await Client.connect(**ClientConfig.load_client_connect_config())
    async with ClanforgeClient.from_env() as client, JobWatcher(client) as watcher:
        worker = Worker(
            temporal,
            task_queue=task_queue,
            workflows=[ReleaseWorkflow],
            activities=[Activities(client, watcher).advance],
            sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),  # then another worker takes over
        )
        await worker.run()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
