"""Visits: one request, as faults see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import frozen

from clanforge_async.simulator.routes import Route


@frozen(kw_only=True)
class Visit:
    """A request to one of the calls.

    Attributes:
        route: The call.
        id: The id that it names; None where no id has that form.
        clock: Tells the server's time.
        since_retry: Seconds since the job was last retried; None where it never was, or does not exist.
        left: Returns once the client has gone.
    """

    route: Route
    id: int | None
    clock: Callable[[], float]
    since_retry: float | None
    left: Callable[[], Awaitable[object]]
