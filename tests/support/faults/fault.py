"""A fault and the one right outcome of it, for each kind of call."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen
from support.faults.faulty_server import Deed

from clanforge_async import (
    APIError,
    ClanforgeError,
    InvalidResponseError,
    RequestTimeoutError,
    ServerError,
    TransportError,
)


class Retried(enum.Enum):
    """What `image_diffs.retry` makes of a fault."""

    AGAIN = "sent again, since the server cannot have acted upon it"
    DOUBTED = "sent once; then the diff's status is read"
    REFUSED = "sent once; the error is raised and nothing is read"


@frozen(kw_only=True)
class Fault:
    """What goes wrong, and what is to come of it.

    Attributes:
        name: What goes wrong.
        deed: What the server does, where one listens.
        error: What is raised where it does not pass.
        attributes: Attributes of that error.
        is_repeated: Whether a status call is sent again.
        retried: What comes of a retry.
        ends_watch: Whether a watch ends at once; else it waits the fault out.
        timeout: The client's, in seconds.
        max_response_bytes: The client's.
    """

    name: str
    deed: Deed
    error: type[ClanforgeError]
    attributes: Mapping[str, Any] = field(factory=dict)
    is_repeated: bool
    retried: Retried
    ends_watch: bool = False
    timeout: float = 10.0
    max_response_bytes: int = 2**16

    def __str__(self) -> str:
        return self.name


def unsent(name: str, deed: Deed) -> Fault:
    """No connection was made."""
    return Fault(
        name=name,
        deed=deed,
        error=TransportError,
        attributes={"request_sent": False},
        is_repeated=True,
        retried=Retried.AGAIN,
    )


def broken(name: str, deed: Deed) -> Fault:
    """The connection broke, or what came over it was not HTTP."""
    return Fault(
        name=name,
        deed=deed,
        error=TransportError,
        attributes={"request_sent": True},
        is_repeated=True,
        retried=Retried.DOUBTED,
    )


def late(name: str, deed: Deed) -> Fault:
    """No whole answer came in time."""
    return Fault(
        name=name,
        deed=deed,
        error=RequestTimeoutError,
        attributes={"request_sent": True},
        is_repeated=True,
        retried=Retried.DOUBTED,
        timeout=1.0,
        max_response_bytes=2**30,
    )


def unreadable(name: str, deed: Deed) -> Fault:
    """A whole answer came that means nothing: asking again would bring the same, though a later poll may not."""
    return Fault(
        name=name,
        deed=deed,
        error=InvalidResponseError,
        attributes={"fields": ()},
        is_repeated=False,
        retried=Retried.DOUBTED,
    )


def refusal(name: str, deed: Deed, error: type[APIError], status: int, **attributes: Any) -> Fault:
    """The server says no, and would say so again."""
    return Fault(
        name=name,
        deed=deed,
        error=error,
        attributes={"status_code": status, **attributes},
        is_repeated=False,
        retried=Retried.REFUSED,
        ends_watch=True,
    )


def failure(name: str, deed: Deed, status: int, *, is_repeated: bool = True, **attributes: Any) -> Fault:
    """The server, or a gateway, has failed."""
    return Fault(
        name=name,
        deed=deed,
        error=ServerError,
        attributes={"status_code": status, **attributes},
        is_repeated=is_repeated,
        retried=Retried.DOUBTED,
    )
