"""Outages of the API: detected at the first failed request, and reported once for the whole command."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from attrs import frozen

from clanforge_async import APIError, ClanforgeClient, ClanforgeError, JobWatcher
from clanforge_async._http.connection_pool import host_and_port
from clanforge_async._http.request import ApiRequest, RawResponse
from clanforge_async._http.retry_policy import is_transient, may_retry

_FORGOTTEN_AFTER = 60.0
"""Seconds after which a failed call no longer counts: it was not repeated, so it cannot succeed any more."""
_SILENT_AFTER = 5.0
"""Seconds without a response after which a request counts as unanswered, long before its timeout."""
_DELAY_FOR_CALLS = 0.5
"""Seconds that a single call may take to recover, by its own retries, before its failure is reported."""


@frozen(kw_only=True)
class Outage:
    """A period in which requests fail with errors that may be temporary.

    Attributes:
        host: Host and port of the API.
        error: The first failure.
        since: Time of that failure, by the local clock.
        gives_up_at: Time at which the first watch gives up; None: a call gives up after its retries.
        is_repeated: Whether the request that failed is sent again.
    """

    host: str
    error: ClanforgeError
    since: datetime
    gives_up_at: datetime | None
    is_repeated: bool = True

    def deadline(self, now: datetime) -> datetime | None:
        """Return when the first watch gives up; None if that time is unknown or in the past."""
        return self.gives_up_at if self.gives_up_at is not None and self.gives_up_at > now else None

    def pause_left(self, now: datetime) -> float | None:
        """Return the rest of the pause that the server requested, in seconds; None if it requested none."""
        pause = self.error.retry_after if isinstance(self.error, APIError) else None
        return None if pause is None else max(0.0, pause - (now - self.since).total_seconds())


@frozen(kw_only=True)
class Recovery:
    """The end of an outage: the API responds again.

    Attributes:
        outage: The outage that has ended.
        seconds: Duration of the outage.
    """

    outage: Outage
    seconds: float


OutageListener: TypeAlias = Callable[[Outage | Recovery], object]


class ApiMonitor:
    """Observes all requests of a client: counts them, and reports the start and the end of an outage.

    An outage lasts until every failed request has been repeated and has got a response. So it is reported once, even if
    many jobs are watched. Times are by the event loop's clock.

    Args:
        client: The client to observe.
        listener: Called if an outage of a single call lasts for half a second.

    Attributes:
        host: Host and port of the API.
        account_service_id: The account; None: requests contain no account.
        outage: The current outage; None if there is none.
        requests: Number of finished requests; for a watch, since the start of the watch.
    """

    def __init__(self, client: ClanforgeClient, listener: OutageListener) -> None:
        # Not part of the public interface: other programs see failures as errors of their calls and in `on_error`.
        self.host: str = host_and_port(client._config.url)  # noqa: SLF001
        self.account_service_id: int | None = client._config.account_service_id  # noqa: SLF001
        self.requests: int = 0
        client._session.observer = self  # noqa: SLF001
        self._listener = listener
        self._now = asyncio.get_running_loop().time
        self._tolerance: float | None = None
        self._deadline = math.inf
        self.outage: Outage | None = None
        self._began = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._failing: dict[str, float] = {}
        self._in_flight: dict[str, float] = {}

    def begin_watch(self, listener: OutageListener, watcher: JobWatcher, timeout: float | None = None) -> None:
        """Report at once from now on.

        Args:
            listener: Called with each outage, and with its end.
            watcher: The watcher of the watches that begin now; its limits apply to them.
            timeout: Seconds after which the watches give up in any case; None: the watcher's own timeout.
        """
        self._listener = listener
        self.requests = 0
        self._tolerance = watcher._policy.outage_tolerance  # noqa: SLF001 - as above
        timeout = watcher._timeout if timeout is None else timeout  # noqa: SLF001 - as above
        self._deadline = math.inf if timeout is None else self._now() + timeout

    @property
    def silent_for(self) -> float:
        """Seconds for which the oldest request has had no response; 0 below five seconds."""
        waiting = self._now() - min(self._in_flight.values(), default=math.inf)
        return waiting if waiting >= _SILENT_AFTER else 0.0

    def sent(self, request: ApiRequest[Any], /) -> None:
        """Record that a request is handed to the transport."""
        self._in_flight[request.path] = self._now()

    def ended(self, request: ApiRequest[Any], _response: RawResponse | None, error: BaseException | None, /) -> None:
        """Record the outcome of a request."""
        self._in_flight.pop(request.path, None)
        self.requests += 1
        # Without the last part: after a failed retry call, a read of the same job's status decides.
        job = request.path.rpartition("/")[0]
        if isinstance(error, ClanforgeError) and is_transient(error):
            self._failing[job] = self._now()
            if self.outage is None:
                self._begin(request, error)
        elif error is None or isinstance(error, ClanforgeError):
            self._recover(job)

    def _begin(self, request: ApiRequest[Any], error: ClanforgeError) -> None:
        since = datetime.now(UTC)
        self._began = self._now()
        # The tolerance applies only to reads of a status. A release also makes other calls, whose failure ends it.
        tolerance = self._tolerance if request.path.endswith("/status") else None
        self.outage = Outage(
            host=self.host,
            error=error,
            since=since,
            gives_up_at=None if tolerance is None else self._gives_up_at(since, error, tolerance),
            is_repeated=may_retry(request, error) if tolerance is None else tolerance > 0,
        )
        if self._tolerance is None:
            self._timer = asyncio.get_running_loop().call_later(_DELAY_FOR_CALLS, self._listener, self.outage)
        else:
            self._listener(self.outage)

    def _gives_up_at(self, since: datetime, error: ClanforgeError, tolerance: float) -> datetime | None:
        pause = (error.retry_after if isinstance(error, APIError) else None) or 0.0
        with suppress(OverflowError):
            return since + timedelta(seconds=min(max(tolerance, pause), self._deadline - self._now()))
        return None  # after the year 9999

    def _recover(self, job: str) -> None:
        self._failing.pop(job, None)
        if self.outage is None:
            return
        forgotten = self._now() - _FORGOTTEN_AFTER
        if any(failed > forgotten for failed in self._failing.values()):
            return
        outage, self.outage = self.outage, None
        self._failing.clear()
        if self._timer is not None and self._timer.when() > self._now():
            self._timer.cancel()  # it ended before it was reported
        else:
            self._listener(Recovery(outage=outage, seconds=self._now() - self._began))
        self._timer = None
