"""The client: the API's calls as methods, one class for each family of calls."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, NoReturn, Self

import httpx
from attrs import evolve

from clanforge_async._codec.jobs import parse_image_diff_job, parse_image_version_job
from clanforge_async._http.config import ClientConfig, arguments_from_env
from clanforge_async._http.request import ApiRequest, ApiResponse
from clanforge_async._http.retry_policy import may_be_from_previous_run, may_have_been_processed
from clanforge_async._http.session import Session
from clanforge_async._validation import positive_id
from clanforge_async.auth import auth_from_env
from clanforge_async.errors import ClanforgeError, RetryOutcomeUnknownError
from clanforge_async.jobs import ImageDiffJob, ImageVersionJob, Job
from clanforge_async.refs import JobKind, JobRef

_API = "/cfp/v1"
_LATEST = datetime.max.replace(microsecond=0, tzinfo=UTC) - timedelta(seconds=1)


def _image_diff_status(diff_id: int, **params: str) -> ApiRequest[ImageDiffJob]:
    path = f"{_API}/imagediff/{positive_id(diff_id, 'diff_id')}/status"
    return ApiRequest(path, partial(parse_image_diff_job, diff_id), params)


def _image_version_status(image_version_id: int) -> ApiRequest[ImageVersionJob]:
    path = f"{_API}/imageversion/{positive_id(image_version_id, 'image_version_id')}/status"
    return ApiRequest(path, partial(parse_image_version_job, image_version_id))


class _Resource:
    """One family of API calls."""

    def __init__(self, session: Session) -> None:
        self._session = session


class ImageDiffs(_Resource):
    """Image difference analyses, as ``client.image_diffs``."""

    async def retry(self, diff_id: int) -> ImageDiffJob:
        """Start the analysis again. The diff must be completed or failed ("Image diff retry").

        The call has a side effect, so it is sent again only if the server cannot have processed it: no connection was
        made, or the response was 429. After any other failure the diff's status is read once: a job that runs, or
        that was updated since the call by the server's clock, is returned.

        The ``ref`` of the returned job identifies the new run: watch that, since a status read right after a retry
        may still show the end of the previous run.

        Raises:
            TypeError: ``diff_id`` is not an ``int``.
            ValueError: ``diff_id`` is not positive.
            RetryOutcomeUnknownError: The retry may or may not have happened; the cause is chained.
            APIError: The server refused; `ImageLockedError` if another diff locks the image.
            TransportError: No connection could be made.
        """
        path = f"{_API}/imagediff/{positive_id(diff_id, 'diff_id')}/retry"
        request = ApiRequest(path, partial(parse_image_diff_job, diff_id), idempotent=False)
        try:
            response = await self._session.call(request)
        except ClanforgeError as error:
            if not request.was_sent or not may_have_been_processed(error):
                raise
            return await self._resolve_unknown_outcome(request, diff_id, error)
        job = response.value
        if may_be_from_previous_run(response, 0.0):
            return evolve(job, newer_than=_next_second(job.updated_at))
        return evolve(job, newer_than=job.updated_at)

    async def _resolve_unknown_outcome(
        self, request: ApiRequest[ImageDiffJob], diff_id: int, failure: ClanforgeError
    ) -> ImageDiffJob:
        try:
            status_request = _image_diff_status(diff_id)
            response = await self._session.call(status_request)
        except ClanforgeError as status_failure:
            failure.add_note(f"nor could the diff's status be read: {status_failure}")
            raise RetryOutcomeUnknownError(diff_id) from failure
        if may_be_from_previous_run(response, status_request.sent_at - request.sent_by):
            raise RetryOutcomeUnknownError(diff_id) from failure
        return evolve(response.value, newer_than=response.value.updated_at)

    async def status(self, diff_id: int, include_details: bool = False) -> ImageDiffJob:
        """Read the diff's job ("Image diff status"). Retried after transient failures.

        Args:
            diff_id: The image diff's id.
            include_details: Request the game, the machine and the image too (``diff_info=1``).

        Raises:
            TypeError: ``diff_id`` is not an ``int``.
            ValueError: ``diff_id`` is not positive.
            APIError: The server responded with an error.
            InvalidResponseError: The response cannot be parsed.
            TransportError: The network failed.
        """
        request = _image_diff_status(diff_id, **({"diff_info": "1"} if include_details else {}))
        return (await self._session.call(request)).value


class ImageVersions(_Resource):
    """Image versions, as ``client.image_versions``."""

    async def status(self, image_version_id: int) -> ImageVersionJob:
        """Read the image version's job ("Image version status"). Retried after transient failures.

        Raises:
            TypeError: ``image_version_id`` is not an ``int``.
            ValueError: ``image_version_id`` is not positive.
            APIError: The server responded with an error.
            InvalidResponseError: The response cannot be parsed.
            TransportError: The network failed.
        """
        return (await self._session.call(_image_version_status(image_version_id))).value


def _next_second(moment: datetime) -> datetime:
    return min(moment, _LATEST) + timedelta(seconds=1)


class ClanforgeClient:
    """A client of the Clanforge game-image API.

    Use it as an async context manager, or close it with `aclose`; its connections open at first use. Share one client
    in the whole program: its limits apply to all calls together.

    Args:
        auth: Credentials: `AccessKeyAuth`, `BearerTokenAuth`, another ``httpx.Auth``, or a pair of access key and
            secret key.
        account_service_id: The account service ID (ASID), sent as ``accountserviceid`` on every call if set.
        base_url: Base URL of the API. None: `CLANFORGE_URL`, or `MULTIPLAY_URL` with a `BearerTokenAuth`. Plain http is
            refused unless the host is loopback.
        timeout: Seconds for one request with its whole response; half of them to connect. An ``httpx.Timeout`` sets
            the phases one by one, and their sum limits the whole.
        max_retries: Retries of one call, if it may be sent again.
        max_rate: Requests per second, with a burst of one second's worth; None: unlimited.
        max_concurrency: Requests in flight at a time.
        max_response_bytes: Largest response body to accept, after decompression.
        transport: Any httpx transport, instead of a pool of ``max_concurrency`` connections. Closed with the client, as
            by httpx's own client.

    Raises:
        ConfigurationError: An argument is invalid, or ``account_service_id`` is missing for `CLANFORGE_URL`.

    Attributes:
        image_diffs: Calls for image diffs.
        image_versions: Calls for image versions.
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
        self.image_diffs: ImageDiffs = ImageDiffs(self._session)
        self.image_versions: ImageVersions = ImageVersions(self._session)

    @classmethod
    def from_env(cls, **overrides: Any) -> Self:
        """Create a client from environment variables.

        ``CLANFORGE_ACCESS_KEY`` and ``CLANFORGE_SECRET_KEY``, or ``CLANFORGE_TOKEN``, are the credentials;
        ``CLANFORGE_ACCOUNT_SERVICE_ID`` and ``CLANFORGE_BASE_URL`` are optional.

        Args:
            **overrides: Arguments of the constructor; they override the environment.

        Raises:
            ConfigurationError: The environment holds no credentials, half a pair, or both kinds; or an argument is
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

        It builds its request once, retries nothing, and waits out any cooldown of the client.
        """
        is_diff = ref.kind is JobKind.IMAGE_DIFF
        request: ApiRequest[Job] = _image_diff_status(ref.id) if is_diff else _image_version_status(ref.id)
        return partial(self._session.attempt, request)

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
        msg = "a client holds connections and credentials and cannot be pickled or copied"
        raise TypeError(msg)
