"""Calls for image updates: a build machine pulls a build from its source."""

from __future__ import annotations

from functools import partial

from clanforge_async._codec.jobs import parse_image_update_job
from clanforge_async._http.request import ApiRequest
from clanforge_async._validation import positive_id, text
from clanforge_async.jobs import ImageUpdateJob
from clanforge_async.refs import JobKind, JobRef
from clanforge_async.resources.job_calls import JobCalls
from clanforge_async.resources.requests import API, image_update_status
from clanforge_async.resources.sources import Source


class ImageUpdates(JobCalls):
    """Image updates, as ``client.image_updates``."""

    async def create(
        self,
        image_id: int,
        machine_id: int,
        description: str,
        source: Source | str | None = None,
    ) -> ImageUpdateJob:
        """Start an image update: the build machine pulls the files of a build ("Image update create").

        The call has a side effect, so it is sent again only if the server cannot have processed it. After any other
        failure it raises `OutcomeUnknownError`, since the API does not show which client created an update.

        Args:
            image_id: The image to update.
            machine_id: The build machine.
            description: Free text.
            source: The source of the build, or its URL as text with percent-encoded parts; None: the image's default
                source. It is percent-encoded once more when sent, as the API requires.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: An id is not positive; a text is blank or contains control characters.
            ImageLockedError: A diff or an update locks the image.
            OutcomeUnknownError: The update may or may not have been created; ``candidate`` may be that update.
            APIError: The server refused.
            InvalidResponseError: The update was created, but the response lacks its id.
            TransportError: No connection could be made.
        """
        request = _create_request(image_id, machine_id, description, source)
        del source  # as text, it would show its secrets in the local variables of a traceback
        return await self._create_locking(request, JobKind.IMAGE_UPDATE, image_id)

    async def retry(self, update_id: int) -> ImageUpdateJob:
        """Start the update again ("Image update retry").

        The call has a side effect, so it is sent again only if the server cannot have processed it: no connection was
        made, or the response was 429. After any other failure the update's status is read once: a job that runs, or
        that was updated since the call by the server's clock, is returned.

        Watch the ``ref`` of the returned job. It identifies the new run.

        Raises:
            TypeError: ``update_id`` is not an ``int``.
            ValueError: ``update_id`` is not positive.
            RetryOutcomeUnknownError: The retry may or may not have happened; the cause is chained.
            APIError: The server refused; `ImageLockedError` if another job locks the image.
            TransportError: No connection could be made.
        """
        path = f"{API}/imageupdate/{positive_id(update_id, 'update_id')}/retry"
        request = ApiRequest(path, partial(parse_image_update_job, update_id), idempotent=False)
        return await self._retry(request, image_update_status(update_id), JobRef.image_update(update_id))

    async def status(self, update_id: int) -> ImageUpdateJob:
        """Read the update's job ("Image update status"). Retried after transient failures.

        Raises:
            TypeError: ``update_id`` is not an ``int``.
            ValueError: ``update_id`` is not positive.
            APIError: The server responded with an error.
            InvalidResponseError: The response cannot be parsed.
            TransportError: The network failed.
        """
        return (await self._session.call(image_update_status(update_id))).value


def _create_request(
    image_id: int, machine_id: int, description: str, source: Source | str | None
) -> ApiRequest[ImageUpdateJob]:
    params = {
        "imageid": str(positive_id(image_id, "image_id")),
        "machineid": str(positive_id(machine_id, "machine_id")),
        "desc": text(description, "description"),
    }
    if source is not None:
        params["url"] = source.url() if isinstance(source, Source) else text(source, "source")
    return ApiRequest(f"{API}/imageupdate/create", partial(parse_image_update_job, None), params, idempotent=False)
