"""Calls for image diffs: the differences between the files on a build machine and an image."""

from __future__ import annotations

from functools import partial

from clanforge_async._codec.images import parse_diff_rejection
from clanforge_async._codec.jobs import parse_image_diff_job
from clanforge_async._http.request import ApiRequest, ApiResponse
from clanforge_async._validation import flag, positive_id
from clanforge_async.errors import ClanforgeError, OutcomeUnknownError
from clanforge_async.images import DiffRejection
from clanforge_async.jobs import ImageDiffJob
from clanforge_async.refs import JobKind, JobRef
from clanforge_async.resources.job_calls import JobCalls
from clanforge_async.resources.requests import API, image_diff_status


class ImageDiffs(JobCalls):
    """Image difference analyses, as ``client.image_diffs``."""

    async def create(self, image_id: int, machine_id: int) -> ImageDiffJob:
        """Compare an image's latest version with the files on a build machine ("Image diff create").

        The diff locks the image until it is rejected or a version is created from it.

        The call has a side effect, so it is sent again only if the server cannot have processed it. After any other
        failure it raises `OutcomeUnknownError`, since the API does not show which client created a diff.

        Raises:
            TypeError: An id is not an ``int``.
            ValueError: An id is not positive.
            ImageLockedError: A diff or an update locks the image.
            OutcomeUnknownError: The diff may or may not have been created; ``candidate`` may be that diff.
            APIError: The server refused.
            InvalidResponseError: The diff was created, but the response lacks its id.
            TransportError: No connection could be made.
        """
        params = {
            "imageid": str(positive_id(image_id, "image_id")),
            "machineid": str(positive_id(machine_id, "machine_id")),
        }
        path = f"{API}/imagediff/create"
        request = ApiRequest(path, partial(parse_image_diff_job, None), params, idempotent=False)
        return await self._create_locking(request, JobKind.IMAGE_DIFF, image_id)

    async def retry(self, diff_id: int) -> ImageDiffJob:
        """Start the analysis again. The diff must be completed or failed ("Image diff retry").

        The call has a side effect, so it is sent again only if the server cannot have processed it: no connection was
        made, or the response was 429. After any other failure the diff's status is read once: a job that runs, or
        that was updated since the call by the server's clock, is returned.

        Watch the ``ref`` of the returned job. It identifies the new run: a status read right after a retry may still
        show the previous run.

        Raises:
            TypeError: ``diff_id`` is not an ``int``.
            ValueError: ``diff_id`` is not positive.
            RetryOutcomeUnknownError: The retry may or may not have happened; the cause is chained.
            APIError: The server refused; `ImageLockedError` if another job locks the image.
            TransportError: No connection could be made.
        """
        path = f"{API}/imagediff/{positive_id(diff_id, 'diff_id')}/retry"
        request = ApiRequest(path, partial(parse_image_diff_job, diff_id), idempotent=False)
        return await self._retry(request, image_diff_status(diff_id), JobRef.image_diff(diff_id))

    async def status(self, diff_id: int, include_details: bool = False) -> ImageDiffJob:
        """Read the diff's job ("Image diff status"). Retried after transient failures.

        Args:
            diff_id: The image diff's id.
            include_details: Request the game, the machine and the image too (``diff_info=1``).

        Raises:
            TypeError: ``diff_id`` is not an ``int``, or ``include_details`` is not a ``bool``.
            ValueError: ``diff_id`` is not positive.
            APIError: The server responded with an error.
            InvalidResponseError: The response cannot be parsed.
            TransportError: The network failed.
        """
        params = {"diff_info": "1"} if flag(include_details, "include_details") else {}
        request = image_diff_status(diff_id, **params)
        return (await self._session.call(request)).value

    async def reject(self, diff_id: int, *, reinstall: bool, image_id: int | None = None) -> DiffRejection:
        """Reject a diff, which frees its image ("Image diff reject"). The diff must be completed or failed.

        Reject only a diff of your own: the API accepts any diff of the account.

        The call has a side effect, so it is sent again only if the server cannot have processed it. After any other
        failure the image's lock is read, if ``image_id`` is given: if the diff no longer holds it, it was rejected.

        Args:
            diff_id: The diff.
            reinstall: Whether the build machine returns to its last known good state; otherwise it keeps its files.
            image_id: The diff's image, to read its lock if the outcome is unknown. It is not sent.

        Raises:
            TypeError: An id is not an ``int``, or ``reinstall`` is not a ``bool``.
            ValueError: An id is not positive.
            OutcomeUnknownError: The diff may or may not have been rejected.
            APIError: The server refused.
            TransportError: No connection could be made.
        """
        path = f"{API}/imagediff/{positive_id(diff_id, 'diff_id')}/reject"
        if image_id is not None:
            positive_id(image_id, "image_id")
        params = {"reinstall": str(int(flag(reinstall, "reinstall")))}
        request = ApiRequest(path, partial(parse_diff_rejection, diff_id), params, idempotent=False)
        response = await self._send_once(request)
        if isinstance(response, ApiResponse):
            return response.value
        if image_id is None:
            raise OutcomeUnknownError(call="image_diffs.reject") from response
        try:
            lock = (await self._images.options(image_id)).lock
        except ClanforgeError as error:
            response.add_note(f"reading the image's lock failed too: {error}")
            raise OutcomeUnknownError(call="image_diffs.reject") from response
        if lock == JobRef.image_diff(diff_id):
            raise OutcomeUnknownError(call="image_diffs.reject", lock=lock) from response
        return DiffRejection(diff_id=diff_id)
