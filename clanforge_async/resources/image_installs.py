"""Calls for image installs: the installation of an image version on a machine."""

from __future__ import annotations

from clanforge_async._codec.images import parse_image_installs, parse_queued_install
from clanforge_async._http.request import ApiRequest, ApiResponse
from clanforge_async._validation import positive_id
from clanforge_async.errors import ClanforgeError, OutcomeUnknownError
from clanforge_async.images import ImageInstall, QueuedInstall
from clanforge_async.jobs import JobState
from clanforge_async.resources.base import Resource
from clanforge_async.resources.requests import API

_WAITING = {JobState.CREATED, JobState.PENDING}


class ImageInstalls(Resource):
    """Image installs, as ``client.image_installs``."""

    async def list(self, *, image_version_id: int | None = None) -> list[ImageInstall]:
        """List the incomplete installs of the account ("Image install status"). Retried after transient failures.

        An empty list means that all installs have ended, or that none has begun yet.

        Args:
            image_version_id: Keep only installs of this version. The server always sends those of all images.

        Raises:
            TypeError: ``image_version_id`` is not an ``int``.
            ValueError: ``image_version_id`` is not positive.
            APIError: The server responded with an error.
            InvalidResponseError: The response cannot be parsed.
            TransportError: The network failed.
        """
        if image_version_id is not None:
            positive_id(image_version_id, "image_version_id")
        installs = (await self._session.call(ApiRequest(f"{API}/imageinstall/status", parse_image_installs))).value
        return [install for install in installs if image_version_id in (None, install.image_version_id)]

    async def queue(self, install: ImageInstall) -> QueuedInstall:
        """Put a waiting install in the queue of its machine ("Image install queue").

        It squashes older installs on the same machine.

        The call has a side effect, so it is sent again only if the server cannot have processed it. After any other
        failure the installs are listed: if this one is no longer listed, or has begun, the call was processed.

        Args:
            install: The install, as `list` returned it.

        Raises:
            TypeError: ``install`` is not an `ImageInstall`.
            OutcomeUnknownError: The server may or may not have processed the call.
            APIError: The server refused.
            TransportError: No connection could be made.
        """
        if not isinstance(install, ImageInstall):
            msg = f"install must be an ImageInstall, not {type(install).__name__}"
            raise TypeError(msg)
        path = f"{API}/imageinstall/{positive_id(install.id)}/queue"
        params = {} if install.mirroring is None else {"mirroring": str(install.mirroring).lower()}
        response = await self._send_once(ApiRequest(path, parse_queued_install, params, idempotent=False))
        if isinstance(response, ApiResponse):
            return response.value
        if await self._has_been_queued(install, response):
            return QueuedInstall()
        raise OutcomeUnknownError(call="image_installs.queue") from response

    async def _has_been_queued(self, install: ImageInstall, failure: ClanforgeError) -> bool:
        try:
            installs = await self.list()
        except ClanforgeError as error:
            failure.add_note(f"listing the installs failed too: {error}")
            return False
        now = next((other for other in installs if other.id == install.id), None)
        return now is None or (install.state in _WAITING and now.state not in _WAITING)
