"""Calls with a side effect: never sent twice if the outcome of the first is unknown."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TypeVar

from attrs import evolve

from clanforge_async._http.request import ApiRequest, ApiResponse
from clanforge_async._http.retry_policy import may_be_from_previous_run, may_have_been_processed
from clanforge_async._http.session import Session
from clanforge_async.errors import ClanforgeError, InvalidResponseError, RetryOutcomeUnknownError
from clanforge_async.jobs import ImageDiffJob, ImageUpdateJob
from clanforge_async.refs import LATEST_SECOND, JobRef

T = TypeVar("T")
J = TypeVar("J", ImageUpdateJob, ImageDiffJob)


class Resource:
    """One family of API calls."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def _send_once(self, request: ApiRequest[T]) -> ApiResponse[T] | ClanforgeError:
        """Send a request with a side effect.

        Returns:
            The response, or a failure that leaves open whether the server processed the request.

        Raises:
            ClanforgeError: The server has certainly not processed the request.
        """
        try:
            return await self._session.call(request)
        except ClanforgeError as error:
            if not request.was_sent or not may_have_been_processed(error):
                raise
            return error

    async def _retry(self, request: ApiRequest[J], status_request: ApiRequest[J], ref: JobRef) -> J:
        """Start a job again. If the outcome is unknown, read the job's status once.

        Args:
            request: The retry.
            status_request: Reads the job's status.
            ref: The job.

        Returns:
            The job; its ``newer_than`` tells statuses of the new run from those of the previous one.

        Raises:
            RetryOutcomeUnknownError: The retry may or may not have happened.
            ClanforgeError: It has not happened.
        """
        response = await self._send_once(request)
        if isinstance(response, ApiResponse):
            job = response.value
            is_previous = may_be_from_previous_run(response, 0.0)
            return evolve(job, newer_than=_next_second(job.updated_at) if is_previous else job.updated_at)
        try:
            status = await self._session.call(status_request)
        except ClanforgeError as error:
            response.add_note(f"nor could the job's status be read: {error}")
            raise RetryOutcomeUnknownError(ref) from response
        if may_be_from_previous_run(status, status_request.sent_at - request.sent_by):
            raise RetryOutcomeUnknownError(ref) from response
        return evolve(status.value, newer_than=status.value.updated_at)


def _next_second(moment: datetime) -> datetime:
    return min(moment, LATEST_SECOND) + timedelta(seconds=1)


def was_processed(failure: ClanforgeError) -> bool:
    """Whether the response was an object of the wrong shape: the call was processed, but its result is lost."""
    return isinstance(failure, InvalidResponseError) and bool(failure.fields)
