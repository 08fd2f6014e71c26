"""Calls that create or retry jobs, and the reads that follow if the outcome of such a call is unknown."""

from __future__ import annotations

import asyncio
import math
from datetime import datetime, timedelta
from typing import TypeVar

from attrs import evolve

from clanforge_async._http.request import ApiRequest, ApiResponse
from clanforge_async._http.retry_policy import may_be_from_previous_run
from clanforge_async._http.session import Session
from clanforge_async.errors import (
    ClanforgeError,
    InvalidResponseError,
    OutcomeUnknownError,
    RetryOutcomeUnknownError,
)
from clanforge_async.jobs import ImageDiffJob, ImageUpdateJob, Job
from clanforge_async.refs import LATEST_SECOND, JobKind, JobRef
from clanforge_async.resources.base import Resource
from clanforge_async.resources.images import Images
from clanforge_async.resources.requests import job_status

T = TypeVar("T")
J = TypeVar("J", ImageUpdateJob, ImageDiffJob)


class JobCalls(Resource):
    """A family of calls about jobs that work on an image.

    Args:
        session: The client's session.
        images: Reads the lock of an image.
    """

    def __init__(self, session: Session, images: Images) -> None:
        super().__init__(session)
        self._images = images

    async def _create(self, request: ApiRequest[T]) -> T | ClanforgeError:
        """Send a request that creates a job.

        Returns:
            The job, or a failure that leaves open whether it was created.

        Raises:
            InvalidResponseError: The job was created, but the response does not describe it.
            ClanforgeError: The job was not created.
        """
        response = await self._send_once(request)
        if isinstance(response, ApiResponse):
            return response.value
        if isinstance(response, InvalidResponseError) and response.fields:
            raise response
        return response

    async def _create_locking(self, request: ApiRequest[J], kind: JobKind, image_id: int) -> J:
        """Create a job that locks an image. If the outcome is unknown, look for a candidate.

        Raises:
            OutcomeUnknownError: The job may or may not have been created.
            ClanforgeError: As for `_create`.
        """
        result = await self._create(request)
        if not isinstance(result, ClanforgeError):
            return result
        candidate = await self._find_candidate(request, kind, image_id, result)
        raise OutcomeUnknownError(call=f"{_resource_of(kind)}.create", candidate=candidate) from result

    async def _retry(self, request: ApiRequest[J], status_request: ApiRequest[J], ref: JobRef) -> J:
        """Start a job again. If the outcome is unknown, read the job's status once.

        Args:
            request: The retry.
            status_request: Reads the job's status.
            ref: The job.

        Returns:
            The job; its ``newer_than`` separates statuses of the new run from those of the previous one.

        Raises:
            RetryOutcomeUnknownError: The retry may or may not have happened.
            ClanforgeError: The retry has not happened.
        """
        response = await self._send_once(request)
        if isinstance(response, ApiResponse):
            job = response.value
            is_previous = may_be_from_previous_run(response, 0.0)
            return evolve(job, newer_than=_next_second(job.updated_at) if is_previous else job.updated_at)
        try:
            status = await self._session.call(status_request)
        except ClanforgeError as error:
            response.add_note(f"reading the job's status failed too: {error}")
            raise RetryOutcomeUnknownError(ref) from response
        if may_be_from_previous_run(status, status_request.sent_at - request.sent_by):
            raise RetryOutcomeUnknownError(ref) from response
        return evolve(status.value, newer_than=status.value.updated_at)

    async def _find_candidate(
        self, request: ApiRequest[J], kind: JobKind, image_id: int, failure: ClanforgeError
    ) -> JobRef | None:
        """Return the job that a call may have created: it locks the image and was created since the call.

        Another client may have created it nevertheless.

        Args:
            request: The call.
            kind: The kind of job that it creates.
            image_id: The image.
            failure: The failure of the call; gets a note if a read fails too.
        """
        lock = await self._read_lock(image_id, failure)
        if lock is None or lock.kind is not kind:
            return None
        try:
            response = await self._session.call(job_status(lock))
        except ClanforgeError as error:
            failure.add_note(f"reading {lock}, which locks the image, failed too: {error}")
            return None
        return lock if _may_be_created_since(response, request.sent_at) else None

    async def _read_lock(self, image_id: int, failure: ClanforgeError) -> JobRef | None:
        """Return the job that locks an image; None if none does, or if it cannot be read."""
        try:
            return (await self._images.options(image_id)).lock
        except ClanforgeError as error:
            failure.add_note(f"reading the image's lock failed too: {error}")
            return None


def _resource_of(kind: JobKind) -> str:
    return f"{kind.replace('-', '_')}s"


def _next_second(moment: datetime) -> datetime:
    return min(moment, LATEST_SECOND) + timedelta(seconds=1)


def _may_be_created_since(response: ApiResponse[Job], sent_at: float) -> bool:
    # The server's clock counts whole seconds, so a job created in the same second as the call is a candidate. Without
    # a `Date` header that clock is unknown, and no job is a candidate.
    if response.server_time is None:
        return False
    seconds_since_call = asyncio.get_running_loop().time() - sent_at
    return response.value.created_at.timestamp() >= math.floor(response.server_time.timestamp() - seconds_since_call)
