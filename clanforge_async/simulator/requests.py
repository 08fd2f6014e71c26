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
    """A call of the API, named after the client's method."""

    IMAGE_OPTIONS = "image options"
    IMAGE_SET_ACTIVE = "image set-active"
    IMAGE_ROLLOUT = "image rollout"
    IMAGE_UPDATE_CREATE = "image-update create"
    IMAGE_UPDATE_STATUS = "image-update status"
    IMAGE_UPDATE_RETRY = "image-update retry"
    IMAGE_DIFF_CREATE = "image-diff create"
    IMAGE_DIFF_STATUS = "image-diff status"
    IMAGE_DIFF_RETRY = "image-diff retry"
    IMAGE_DIFF_REJECT = "image-diff reject"
    IMAGE_VERSION_CREATE = "image-version create"
    IMAGE_VERSION_STATUS = "image-version status"
    IMAGE_INSTALL_LIST = "image-install list"
    IMAGE_INSTALL_QUEUE = "image-install queue"

    @property
    def kind(self) -> JobKind | None:
        """The kind of the job that its id names; None if the id does not name a job, or if it has no id."""
        return _KINDS.get(self)

    @property
    def path(self) -> str:
        """Its path, the same on both hosts, with its id as ``{id}``."""
        return _PATHS[self]

    @property
    def query_path(self) -> str | None:
        """Its alternative path with the id in the query, if any. It is undocumented, but programs use it."""
        return _QUERY_PATHS.get(self)

    @property
    def id_parameter(self) -> str | None:
        """The query parameter with its id, if the id is not in the path."""
        return _ID_PARAMETERS.get(self)


_PATHS = {
    Route.IMAGE_OPTIONS: "/cfp/v1/image/options",
    Route.IMAGE_SET_ACTIVE: "/cfp/v1/image/{id}/update",
    Route.IMAGE_ROLLOUT: "/cfp/v2/project/{account_service_id}/image/{id}/status",
    Route.IMAGE_UPDATE_CREATE: "/cfp/v1/imageupdate/create",
    Route.IMAGE_UPDATE_STATUS: "/cfp/v1/imageupdate/{id}/status",
    Route.IMAGE_UPDATE_RETRY: "/cfp/v1/imageupdate/{id}/retry",
    Route.IMAGE_DIFF_CREATE: "/cfp/v1/imagediff/create",
    Route.IMAGE_DIFF_STATUS: "/cfp/v1/imagediff/{id}/status",
    Route.IMAGE_DIFF_RETRY: "/cfp/v1/imagediff/{id}/retry",
    Route.IMAGE_DIFF_REJECT: "/cfp/v1/imagediff/{id}/reject",
    Route.IMAGE_VERSION_CREATE: "/cfp/v1/imageversion/create",
    Route.IMAGE_VERSION_STATUS: "/cfp/v1/imageversion/{id}/status",
    Route.IMAGE_INSTALL_LIST: "/cfp/v1/imageinstall/status",
    Route.IMAGE_INSTALL_QUEUE: "/cfp/v1/imageinstall/{id}/queue",
}
_QUERY_PATHS = {
    Route.IMAGE_UPDATE_STATUS: "/cfp/v1/imageupdate/status",
    Route.IMAGE_DIFF_STATUS: "/cfp/v1/imagediff/status",
}
_ID_PARAMETERS = {
    Route.IMAGE_OPTIONS: "imageid",
    Route.IMAGE_UPDATE_CREATE: "imageid",
    Route.IMAGE_UPDATE_STATUS: "updateid",
    Route.IMAGE_DIFF_CREATE: "imageid",
    Route.IMAGE_DIFF_STATUS: "diffid",
    Route.IMAGE_VERSION_CREATE: "diffid",
}
_KINDS = {
    Route.IMAGE_UPDATE_STATUS: JobKind.IMAGE_UPDATE,
    Route.IMAGE_UPDATE_RETRY: JobKind.IMAGE_UPDATE,
    Route.IMAGE_DIFF_STATUS: JobKind.IMAGE_DIFF,
    Route.IMAGE_DIFF_RETRY: JobKind.IMAGE_DIFF,
    Route.IMAGE_DIFF_REJECT: JobKind.IMAGE_DIFF,
    Route.IMAGE_VERSION_CREATE: JobKind.IMAGE_DIFF,
    Route.IMAGE_VERSION_STATUS: JobKind.IMAGE_VERSION,
}


@frozen(kw_only=True)
class Request:
    """A logged request.

    Attributes:
        at: Its time of arrival by the server's clock, in Unix seconds.
        route: The call.
        id: The id that it is about: of a job or, to create an update or diff, of an image; None if it has none.
        status: The status of the response; None if the connection was closed without one.
    """

    at: float
    route: Route
    id: int | None
    status: int | None


class RequestLog:
    """Counts all requests and keeps the latest 10,000. Iterating over it yields those, oldest first.

    A request is logged when its response is ready to be sent.

    Attributes:
        in_flight: Number of requests being processed now.
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
        """Return the number of requests: all, or only those of one call, one job or both."""
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
