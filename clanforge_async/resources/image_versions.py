"""Calls for image versions: the packages that machines install."""

from __future__ import annotations

import time
from datetime import datetime
from functools import partial
from typing import Literal

from clanforge_async._codec.jobs import parse_image_version_job
from clanforge_async._http.auth import BearerTokenAuth
from clanforge_async._http.request import ApiRequest
from clanforge_async._validation import flag, positive_id, text
from clanforge_async.errors import ClanforgeError, OutcomeUnknownError
from clanforge_async.images import StragglerPolicy
from clanforge_async.jobs import ImageVersionJob
from clanforge_async.refs import unix_second
from clanforge_async.resources.job_calls import JobCalls
from clanforge_async.resources.requests import API, image_version_status


class ImageVersions(JobCalls):
    """Image versions, as ``client.image_versions``."""

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

        No machine runs a version when it completes: its installs follow, machine by machine. See `Images.rollout`.

        The call has a side effect, so it is sent again only if the server cannot have processed it. After any other
        failure it raises `OutcomeUnknownError`, since no call finds the id of a version.

        Args:
            diff_id: The diff.
            restart: Stop all servers of the image for the install and restart them after it; otherwise they get the
                version when they exit.
            full: Package the whole image instead of the differences. Required if no file differs.
            force: Create the version despite active allocations; by default the server refuses.
            game_build: Name of the game's build.
            install_at: Time of the installs; None: the server's default. According to the legacy pages, each install
                then waits until it is queued manually.
            straggler_policy: When to disable machines that do not respond; None: after four hours.
            image_id: The diff's image, to read its lock if the outcome is unknown. It is not sent.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: An id is not positive, ``game_build`` is blank or contains control characters, or ``install_at``
                is a naive datetime.
            OutcomeUnknownError: The version may or may not have been created; ``lock`` is the job that locks the image.
            APIError: The server refused.
            InvalidResponseError: The version was created, but the response lacks its id.
            TransportError: No connection could be made.
        """
        params = {"diffid": str(positive_id(diff_id, "diff_id")), "restart": str(int(flag(restart, "restart")))}
        params |= {"full": "1"} if flag(full, "full") else {}
        params |= {"force": "1"} if flag(force, "force") else {}
        params |= {} if game_build is None else {"game_build": text(game_build, "game_build")}
        params |= {} if straggler_policy is None else _straggler_params(straggler_policy)
        if image_id is not None:
            positive_id(image_id, "image_id")
        _check_install_at(install_at)
        if install_at is not None:
            params["install_at"] = await self._format_install_at(install_at)
        path = f"{API}/imageversion/create"
        request = ApiRequest(path, partial(parse_image_version_job, None), params, idempotent=False)
        result = await self._create(request)
        if not isinstance(result, ClanforgeError):
            return result
        lock = None if image_id is None else await self._read_lock(image_id, result)
        raise OutcomeUnknownError(call="image_versions.create", lock=lock) from result

    async def _format_install_at(self, install_at: Literal["now"] | datetime) -> str:
        if isinstance(install_at, datetime):
            return str(unix_second(install_at))
        if not isinstance(self._session.config.auth, BearerTokenAuth):
            return "NOW()"
        # The documentation of the Bearer token's host allows only a Unix time here, no text.
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
    if not isinstance(policy, StragglerPolicy):
        msg = f"straggler_policy must be a StragglerPolicy, not {type(policy).__name__}"
        raise TypeError(msg)
    return {"disable_timeout": str(policy.minutes), "disable_percentage": f"{policy.percentage:.2f}"}


def _check_install_at(install_at: object) -> None:
    if isinstance(install_at, datetime):
        if install_at.utcoffset() is None:
            msg = "install_at must be an aware datetime"
            raise ValueError(msg)
    elif isinstance(install_at, str):
        if install_at != "now":
            msg = f"install_at must be 'now', a datetime or None, not {install_at!r}"
            raise ValueError(msg)
    elif install_at is not None:
        msg = f"install_at must be 'now', a datetime or None, not {type(install_at).__name__}"
        raise TypeError(msg)
