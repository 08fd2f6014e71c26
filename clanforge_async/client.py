"""The client: its configuration, its session and the families of calls."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Any, NoReturn, Self

import httpx

from clanforge_async._http.auth import auth_from_env
from clanforge_async._http.config import ClientConfig, arguments_from_env
from clanforge_async._http.request import ApiResponse
from clanforge_async._http.session import Session
from clanforge_async.jobs import Job
from clanforge_async.refs import JobRef
from clanforge_async.resources.image_diffs import ImageDiffs
from clanforge_async.resources.image_installs import ImageInstalls
from clanforge_async.resources.image_updates import ImageUpdates
from clanforge_async.resources.image_versions import ImageVersions
from clanforge_async.resources.images import Images
from clanforge_async.resources.requests import job_status


class ClanforgeClient:
    """A client of the Clanforge game-image API.

    Use it as an async context manager, or close it with `aclose`; its connections open at first use. Share one client
    throughout the program: its limits apply to all calls together.

    Args:
        auth: Credentials: `AccessKeyAuth`, `BearerTokenAuth`, another ``httpx.Auth``, or a pair of access key and
            secret key.
        account_service_id: The account service ID (ASID), sent as ``accountserviceid`` on every call if set.
        base_url: Base URL of the API. None: `CLANFORGE_URL`, or `MULTIPLAY_URL` with a `BearerTokenAuth`. Plain http is
            refused unless the host is loopback.
        timeout: Seconds for one request with its whole response; half of them to connect. An ``httpx.Timeout`` sets
            each phase, and their sum limits the whole request.
        max_retries: Retries of one call, if it may be sent again.
        max_rate: Requests per second, with a burst of one second's worth; None: unlimited.
        max_concurrency: Requests in flight at a time.
        max_response_bytes: Largest response body to accept, after decompression.
        transport: Any httpx transport, instead of a pool of ``max_concurrency`` connections. It is closed with the
            client, as ``httpx.AsyncClient`` does.

    Raises:
        ConfigurationError: An argument is invalid, or ``account_service_id`` is missing for `CLANFORGE_URL`.

    Attributes:
        images: Calls for images.
        image_updates: Calls for image updates.
        image_diffs: Calls for image diffs.
        image_versions: Calls for image versions.
        image_installs: Calls for image installs.
    """

    def __init__(
        self,
        auth: httpx.Auth | tuple[str, str],
        *,
        account_service_id: int | None = None,
        base_url: str | None = None,
        timeout: float | httpx.Timeout = 30.0,
        max_retries: int = 3,
        max_rate: float | None = 20.0,
        max_concurrency: int = 10,
        max_response_bytes: int = 32 * 2**20,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._config = ClientConfig(
            auth=auth,
            account_service_id=account_service_id,
            base_url=base_url,
            timeout=timeout,
            max_retries=max_retries,
            max_rate=max_rate,
            max_concurrency=max_concurrency,
            max_response_bytes=max_response_bytes,
            transport=transport,
        )
        self._session = Session(self._config)
        self.images: Images = Images(self._session)
        self.image_updates: ImageUpdates = ImageUpdates(self._session, self.images)
        self.image_diffs: ImageDiffs = ImageDiffs(self._session, self.images)
        self.image_versions: ImageVersions = ImageVersions(self._session, self.images)
        self.image_installs: ImageInstalls = ImageInstalls(self._session)

    @classmethod
    def from_env(cls, **overrides: Any) -> Self:
        """Create a client from environment variables.

        ``CLANFORGE_ACCESS_KEY`` and ``CLANFORGE_SECRET_KEY``, or ``CLANFORGE_TOKEN``, are the credentials;
        ``CLANFORGE_ACCOUNT_SERVICE_ID`` and ``CLANFORGE_BASE_URL`` are optional.

        Args:
            **overrides: Arguments of the constructor; they override the environment.

        Raises:
            ConfigurationError: The environment contains no credentials, half a pair, or both kinds; or an argument is
                invalid.
        """
        arguments = arguments_from_env(os.environ, overrides)
        if "auth" not in arguments:
            arguments["auth"] = auth_from_env(os.environ)
        return cls(**arguments)

    @property
    def max_concurrency(self) -> int:
        """Largest number of requests in flight."""
        return self._config.max_concurrency

    @property
    def max_rate(self) -> float | None:
        """Largest number of requests per second. None means unlimited."""
        return self._config.max_rate

    def observer(self, ref: JobRef) -> Callable[[], Awaitable[ApiResponse[Job]]]:
        """Return a function that reads a job's status once, for polling; calls must not overlap.

        It builds its request once, never retries, and waits for the end of any cooldown of the client.
        """
        return partial(self._session.attempt, job_status(ref))

    def server_now(self) -> float | None:
        """Return a lower bound of the server's clock in Unix seconds; None before the first ``Date`` header."""
        return self._session.server_now()

    async def aclose(self) -> None:
        """Close the connections. Later calls raise `ConfigurationError`; closing again does nothing."""
        await self._session.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._config.url}>"

    def __reduce__(self) -> NoReturn:
        msg = "a client has connections and credentials and cannot be pickled or copied"
        raise TypeError(msg)
