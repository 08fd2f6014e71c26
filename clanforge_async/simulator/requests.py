"""The simulator's table of routes, and a log of the requests to them."""

from __future__ import annotations

import enum
from collections import Counter, deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from attrs import frozen

from clanforge_async.refs import JobKind

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_LOG_SIZE = 10_000


class Route(enum.StrEnum):
    """A call of the API, by the name that the command line uses."""

    IMAGE_DIFF_RETRY = "image-diff retry"
    IMAGE_DIFF_STATUS = "image-diff status"
    IMAGE_VERSION_STATUS = "image-version status"

    @property
    def kind(self) -> JobKind:
        """The kind of job that it is about."""
        return JobKind(self.partition(" ")[0])

    @property
    def path(self) -> str:
        """Its path, the same on both hosts, with the job's id as ``{job_id}``."""
        return _PATHS[self]


_PATHS = {
    Route.IMAGE_DIFF_RETRY: "/cfp/v1/imagediff/{job_id}/retry",
    Route.IMAGE_DIFF_STATUS: "/cfp/v1/imagediff/{job_id}/status",
    Route.IMAGE_VERSION_STATUS: "/cfp/v1/imageversion/{job_id}/status",
}


@frozen(kw_only=True)
class Request:
    """A logged request.

    Attributes:
        at: Its time of arrival by the server's clock, in Unix seconds.
        route: The call.
        id: The job id in its path; None if that is not an id.
        status: The status of the response; None if the connection was closed without one.
    """

    at: float
    route: Route
    id: int | None
    status: int | None


class RequestLog:
    """Counts all requests and keeps the latest 10,000: iterate over it for those, oldest first.

    A request is logged when its response is ready to be sent.

    Attributes:
        in_flight: Number of requests being answered now.
        peak: Highest number of requests in flight so far.
    """

    def __init__(self) -> None:
        self.in_flight: int = 0
        self.peak: int = 0
        self._counts: Counter[tuple[Route, int | None]] = Counter()
        self._requests: deque[Request] = deque(maxlen=_LOG_SIZE)

    def __iter__(self) -> Iterator[Request]:
        return iter(tuple(self._requests))

    def count(self, route: Route | str | None = None, *, id: int | None = None) -> int:  # noqa: A002 - as elsewhere
        """Return the number of requests, of all or only those of one call, one job or both."""
        wanted = None if route is None else Route(route)
        return sum(
            number
            for (counted_route, counted_id), number in self._counts.items()
            if wanted in (None, counted_route) and id in (None, counted_id)
        )

    @contextmanager
    def track_in_flight(self) -> Generator[None]:
        """Count a request as in flight while the block lasts."""
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            yield
        finally:
            self.in_flight -= 1

    def record(self, request: Request) -> None:
        """Add a request to the log."""
        self._counts[request.route, request.id] += 1
        self._requests.append(request)
