"""Calls for image versions: a diff packaged for the machines."""

from __future__ import annotations

import time
from datetime import datetime
from functools import partial
from typing import Literal

from clanforge_async._codec.jobs import parse_image_version_job
from clanforge_async._http.request import ApiRequest, ApiResponse
from clanforge_async._http.session import Session
from clanforge_async._validation import flag, positive_id, text
from clanforge_async.auth import BearerTokenAuth
from clanforge_async.errors import OutcomeUnknownError
from clanforge_async.images import StragglerPolicy
from clanforge_async.jobs import ImageVersionJob
from clanforge_async.refs import EPOCH
from clanforge_async.resources.base import Resource, was_processed
from clanforge_async.resources.images import Images
from clanforge_async.resources.outcomes import read_lock
from clanforge_async.resources.requests import API, image_version_status


class ImageVersions(Resource):
    """Image versions, as ``client.image_versions``."""

    def __init__(self, session: Session, images: Images) -> None:
        super().__init__(session)
        self._images = images

    async def create(
        self,
        diff_id: int,
        *,
        restart: bool,
        full: bool = False,
        force: bool = False,
        game_build: str | None = None,
        install_at: Literal["now"] | datetime | None = "now",
        straggler_policy: StragglerPolicy | None = None,
        image_id: int | None = None,
    ) -> ImageVersionJob:
        """Accept a completed diff: package its image as a new version ("Image version create").

        A completed version runs nowhere yet: its installs follow, machine by machine. See `Images.rollout`.

        The call has a side effect, so it is sent again only if the server cannot have processed it. After any other
        failure it raises `OutcomeUnknownError`, since no call tells the id of a version.

        Args:
            diff_id: The diff.
            restart: Stop all servers of the image for the install and restart them after it; otherwise they take it
                when they exit.
            full: Package the whole image instead of the differences. Required if nothing differs.
            force: Go ahead despite active allocations; by default the server refuses.
            game_build: Name of the game's build.
            install_at: Time of the installs; None leaves the choice to the server: by the legacy pages, each install
                then waits until it is queued by hand.
            straggler_policy: When to disable machines that do not answer; None: after four hours.
            image_id: The diff's image, to read its lock if the outcome is unknown. It is not sent.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: An id is not positive, ``game_build`` is blank or holds control characters, or ``install_at`` is
                a naive datetime.
            OutcomeUnknownError: The version may or may not have been created; ``lock`` tells who locks the image now.
            APIError: The server refused.
            InvalidResponseError: The version was created, but the response lacks its id.
            TransportError: No connection could be made.
        """
        params = {"diffid": str(positive_id(diff_id, "diff_id")), "restart": str(int(flag(restart, "restart")))}
        params |= {"full": "1"} if flag(full, "full") else {}
        params |= {"force": "1"} if flag(force, "force") else {}
        if game_build is not None:
            params["game_build"] = text(game_build, "game_build")
        if straggler_policy is not None:
            params |= _straggler_params(straggler_policy)
        if image_id is not None:
            positive_id(image_id, "image_id")
        if install_at is not None:
            params["install_at"] = await self._install_time(install_at)
        path = f"{API}/imageversion/create"
        request = ApiRequest(path, partial(parse_image_version_job, None), params, idempotent=False)
        response = await self._send_once(request)
        if isinstance(response, ApiResponse):
            return response.value
        if was_processed(response):
            raise response
        lock = None if image_id is None else await read_lock(self._images, image_id, response)
        raise OutcomeUnknownError(call="image_versions.create", lock=lock) from response

    async def _install_time(self, install_at: Literal["now"] | datetime) -> str:
        if isinstance(install_at, datetime):
            if install_at.utcoffset() is None:
                msg = "install_at must be an aware datetime"
                raise ValueError(msg)
            return str(int((install_at - EPOCH).total_seconds()))
        if install_at != "now":
            msg = f"install_at must be 'now', a datetime or None, not {install_at!r}"
            raise ValueError(msg)
        if not isinstance(self._session.config.auth, BearerTokenAuth):
            return "NOW()"
        # The pages of the token's host document a Unix time and no text.
        if self._session.server_now() is None:
            await self._images.options()
        now = self._session.server_now()
        return str(int(time.time() if now is None else now))

    async def status(self, image_version_id: int) -> ImageVersionJob:
        """Read the image version's job ("Image version status"). Retried after transient failures.

        Raises:
            TypeError: ``image_version_id`` is not an ``int``.
            ValueError: ``image_version_id`` is not positive.
            APIError: The server responded with an error.
            InvalidResponseError: The response cannot be parsed.
            TransportError: The network failed.
        """
        return (await self._session.call(image_version_status(image_version_id))).value


def _straggler_params(policy: StragglerPolicy) -> dict[str, str]:
    return {"disable_timeout": str(policy.minutes), "disable_percentage": f"{policy.percentage:.2f}"}
