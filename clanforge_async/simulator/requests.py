"""The API's routes, and a log of the requests to them."""

from __future__ import annotations

import enum
from collections import Counter, deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from attrs import frozen

from clanforge_async.refs import JobKind

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


class Route(enum.StrEnum):
    """One of the calls, named as the command line names it."""

    IMAGE_DIFF_RETRY = "image-diff retry"
    IMAGE_DIFF_STATUS = "image-diff status"
    IMAGE_VERSION_STATUS = "image-version status"

    @property
    def kind(self) -> JobKind:
        """What the jobs of this call work on."""
        return JobKind(self.partition(" ")[0])

    @property
    def path(self) -> str:
        """The path as both hosts have it, with the job's id as ``{job_id}``."""
        kind, _, verb = self.partition(" ")
        return f"/cfp/v1/{kind.replace('-', '')}/{{job_id}}/{verb}"


_REMEMBERED = 10_000


@frozen(kw_only=True)
class Request:
    """One request and its answer.

    Attributes:
        at: When it arrived, by the server's clock.
        route: The call.
        id: The id that it named; None where no id has that form.
        status: The status of the answer; None where the connection was dropped instead.
    """

    at: float
    route: Route
    id: int | None
    status: int | None


class RequestLog:
    """Counts requests, and remembers the last ten thousand: iterate over it for those, oldest first.

    A request is counted and remembered when its answer is ready to be sent.

    Attributes:
        in_flight: How many requests are being answered now.
        peak: The most that ever were at once.
    """

    def __init__(self) -> None:
        self.in_flight: int = 0
        self.peak: int = 0
        self._counts: Counter[tuple[Route, int | None]] = Counter()
        self._requests: deque[Request] = deque(maxlen=_REMEMBERED)

    def __iter__(self) -> Iterator[Request]:
        return iter(tuple(self._requests))

    def count(self, route: Route | str | None = None, *, id: int | None = None) -> int:  # noqa: A002 - as elsewhere
        """Return how many requests there were, all or those of one call, of one job, or of both."""
        wanted = None if route is None else Route(route)
        return sum(
            number
            for (asked, asked_id), number in self._counts.items()
            if wanted in (None, asked) and id in (None, asked_id)
        )

    @contextmanager
    def passing(self) -> Generator[None]:
        """Count a request as in flight."""
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            yield
        finally:
            self.in_flight -= 1

    def record(self, request: Request) -> None:
        """Note a request and its answer."""
        self._counts[request.route, request.id] += 1
        self._requests.append(request)
