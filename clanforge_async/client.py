"""The client: the API's calls as methods."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, NoReturn, Self, cast

import httpx
from attrs import evolve

from clanforge_async._http.config import Options, options_from
from clanforge_async._http.request import Call
from clanforge_async._http.response import is_of_an_earlier_run, may_have_been_acted_upon
from clanforge_async._http.session import Transport
from clanforge_async._validation import positive_id
from clanforge_async.auth import auth_from
from clanforge_async.errors import ClanforgeError, RetryOutcomeUnknownError
from clanforge_async.jobs import ImageDiffJob, ImageVersionJob, Reading
from clanforge_async.refs import JobKind, JobRef

_API = "/cfp/v1"
_LATEST = datetime.max.replace(microsecond=0, tzinfo=UTC) - timedelta(seconds=1)


def _diff_status(diff_id: int, **params: str) -> Call:
    return Call(JobKind.IMAGE_DIFF, f"{_API}/imagediff/{positive_id(diff_id, 'diff_id')}/status", params)


def _diff_retry(diff_id: int) -> Call:
    path = f"{_API}/imagediff/{positive_id(diff_id, 'diff_id')}/retry"
    return Call(JobKind.IMAGE_DIFF, path, repeatable=False)


def _version_status(image_version_id: int) -> Call:
    path = f"{_API}/imageversion/{positive_id(image_version_id, 'image_version_id')}/status"
    return Call(JobKind.IMAGE_VERSION, path)


class ImageDiffs:
    """Image difference analyses; a client has one as ``client.image_diffs``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def retry(self, diff_id: int) -> ImageDiffJob:
        """Start the analysis again. The diff must be completed or failed ("Image diff retry").

        Asking has a side effect, so it is sent again only where the server cannot have acted upon it: no connection
        was made, or the answer was 429. After any other failure the diff's status is read once: a job that runs, or
        that was updated since the call by the server's clock, is the answer.

        The returned job's ``ref`` knows which run it speaks of: watch that, since a status read right after a retry
        may still show the end of the run before.

        Raises:
            TypeError: ``diff_id`` is no ``int``.
            ValueError: ``diff_id`` is not positive.
            RetryOutcomeUnknownError: The retry may or may not have happened; the cause is chained.
            APIError: The server refused; `ImageLockedError` where another diff locks the image.
            TransportError: No connection could be made.
        """
        call = _diff_retry(diff_id)
        try:
            reading = await self._transport.call(call)
        except ClanforgeError as error:
            if not call.was_sent or not may_have_been_acted_upon(error):
                raise
            return await self._after_doubt(call, diff_id, error)
        job = _diff(reading)
        if is_of_an_earlier_run(reading, _seconds_since(call)):
            return evolve(job, newer_than=_just_after(job.updated_at))
        return evolve(job, newer_than=job.updated_at)

    async def _after_doubt(self, call: Call, diff_id: int, doubt: ClanforgeError) -> ImageDiffJob:
        try:
            reading = await self._transport.call(_diff_status(diff_id))
        except ClanforgeError as unread:
            doubt.add_note(f"nor could the diff's status be read: {unread}")
            raise RetryOutcomeUnknownError(diff_id) from doubt
        if is_of_an_earlier_run(reading, _seconds_since(call)):
            raise RetryOutcomeUnknownError(diff_id) from doubt
        job = _diff(reading)
        return evolve(job, newer_than=job.updated_at)

    async def status(self, diff_id: int, include_details: bool = False) -> ImageDiffJob:
        """Read the diff's job. Repeated after failures that can pass.

        Args:
            diff_id: The image diff's id.
            include_details: Ask for the game, the machine and the image too (``diff_info=1``).

        Raises:
            TypeError: ``diff_id`` is no ``int``.
            ValueError: ``diff_id`` is not positive.
            APIError: The server answered with an error.
            InvalidResponseError: The answer cannot be read.
            TransportError: The network failed.
        """
        call = _diff_status(diff_id, **({"diff_info": "1"} if include_details else {}))
        return _diff(await self._transport.call(call))


class ImageVersions:
    """Image versions; a client has one as ``client.image_versions``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def status(self, image_version_id: int) -> ImageVersionJob:
        """Read the image version's job ("Image version status"). Repeated after failures that can pass.

        Raises:
            TypeError: ``image_version_id`` is no ``int``.
            ValueError: ``image_version_id`` is not positive.
            APIError: The server answered with an error.
            InvalidResponseError: The answer cannot be read.
            TransportError: The network failed.
        """
        reading = await self._transport.call(_version_status(image_version_id))
        return cast("ImageVersionJob", reading.job)


def _diff(reading: Reading) -> ImageDiffJob:
    return cast("ImageDiffJob", reading.job)


def _just_after(moment: datetime) -> datetime:
    return min(moment, _LATEST) + timedelta(seconds=1)


def _seconds_since(call: Call) -> float:
    return asyncio.get_running_loop().time() - call.sent_at


class ClanforgeClient:
    """A client of the Clanforge game-image API.

    Use it as an async context manager, or close it with `aclose`; its connections open at first use. One client is
    meant to serve a whole program: its limits hold over everything that is done through it.

    Args:
        auth: Credentials: `AccessKeyAuth`, `BearerTokenAuth`, another ``httpx.Auth``, or a pair of access key and
            secret key.
        account_service_id: The account service ID (ASID), sent as ``accountserviceid`` on every call where set.
        base_url: Where the API is. None: `CLANFORGE_URL`, or `MULTIPLAY_URL` with a `BearerTokenAuth`. Plain http is
            refused unless the host is loopback.
        timeout: Seconds for one request as a whole, its answer's body included; half of them for the connection. An
            ``httpx.Timeout`` sets the phases one by one, and their sum bounds the whole.
        max_retries: How often one call is sent again, where it may be.
        max_rate: Requests per second, with a burst of one second's worth; None: unlimited.
        max_concurrency: Requests in flight at a time.
        max_response_bytes: Largest body to accept, after decompression.
        transport: Any httpx transport, to be used instead of a pool of ``max_concurrency`` connections, and closed
            with the client as httpx's own client does.

    Raises:
        ConfigurationError: An argument cannot work, or `CLANFORGE_URL` is meant and no ``account_service_id`` given.

    Attributes:
        image_diffs: The calls about image diffs.
        image_versions: The calls about image versions.
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
        self._options = Options(
            auth=auth,
            account_service_id=account_service_id,
            base_url=base_url,
            timeout=timeout,
            max_retries=max_retries,
            max_rate=max_rate,
            max_concurrency=max_concurrency,
            max_response_bytes=max_response_bytes,
        )
        self._transport = Transport(self._options, transport)
        self.image_diffs: ImageDiffs = ImageDiffs(self._transport)
        self.image_versions: ImageVersions = ImageVersions(self._transport)

    @classmethod
    def from_env(cls, **overrides: Any) -> Self:
        """Make a client from the environment.

        ``CLANFORGE_ACCESS_KEY`` and ``CLANFORGE_SECRET_KEY``, or ``CLANFORGE_TOKEN``, are the credentials;
        ``CLANFORGE_ACCOUNT_SERVICE_ID`` and ``CLANFORGE_BASE_URL`` are taken where set.

        Args:
            **overrides: Arguments of the constructor, before which the environment gives way.

        Raises:
            ConfigurationError: The environment holds no credentials, half a pair, or both kinds; or an argument
                cannot work.
        """
        arguments = options_from(os.environ, overrides)
        if "auth" not in arguments:
            arguments["auth"] = auth_from(os.environ)
        return cls(**arguments)

    @property
    def max_concurrency(self) -> int:
        """Requests in flight at a time, at the most."""
        return self._options.max_concurrency

    @property
    def max_rate(self) -> float | None:
        """Requests per second, at the most. None means unlimited."""
        return self._options.max_rate

    async def observe(self, ref: JobRef) -> Reading:
        """Read a job's status once, whatever comes of it, with the time that the server answers at.

        This is what a watch polls with: it is not repeated, since whoever polls decides when to do so again, and it
        waits for as long as the server asks the whole client to hold back.

        Raises:
            ClanforgeError: The one attempt failed.
        """
        return await self.observer(ref)()

    def observer(self, ref: JobRef) -> Callable[[], Awaitable[Reading]]:
        """Return what observes one job, again and again and one at a time: it builds its request once."""
        read = _diff_status if ref.kind is JobKind.IMAGE_DIFF else _version_status
        return partial(self._transport.attempt, read(ref.id))

    async def aclose(self) -> None:
        """Close the connections. Later calls raise `ConfigurationError`; to close again does nothing."""
        await self._transport.aclose()

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
        return f"<{type(self).__name__} {self._options.url}>"

    def __reduce__(self) -> NoReturn:
        msg = "a client holds connections and credentials and cannot be pickled or copied"
        raise TypeError(msg)
