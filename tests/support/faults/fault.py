"""A fault and the one right outcome of it, for each kind of call."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen
from support.faults.faulty_server import Misbehaviour

from clanforge_async import (
    APIError,
    ClanforgeError,
    InvalidResponseError,
    RequestTimeoutError,
    ServerError,
    TransportError,
)


class RetryHandling(enum.Enum):
    """What `image_diffs.retry` makes of a fault."""

    RESENT = "sent again, since the server cannot have acted upon it"
    STATUS_READ = "sent once; then the diff's status is read"
    RAISED = "sent once; the error is raised and nothing is read"


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
    misbehaviour: Misbehaviour
    error: type[ClanforgeError]
    attributes: Mapping[str, Any] = field(factory=dict)
    is_resent: bool
    retry_handling: RetryHandling
    ends_watch: bool = False
    timeout: float = 10.0
    max_response_bytes: int = 2**16

    def __str__(self) -> str:
        return self.name


def connect_error(name: str, misbehaviour: Misbehaviour) -> Fault:
    """No connection was made."""
    return Fault(
        name=name,
        misbehaviour=misbehaviour,
        error=TransportError,
        attributes={"request_sent": False},
        is_resent=True,
        retry_handling=RetryHandling.RESENT,
    )


def transport_error(name: str, misbehaviour: Misbehaviour) -> Fault:
    """The connection broke, or what came over it was not HTTP."""
    return Fault(
        name=name,
        misbehaviour=misbehaviour,
        error=TransportError,
        attributes={"request_sent": True},
        is_resent=True,
        retry_handling=RetryHandling.STATUS_READ,
    )


def timeout_error(name: str, misbehaviour: Misbehaviour) -> Fault:
    """No whole answer came in time."""
    return Fault(
        name=name,
        misbehaviour=misbehaviour,
        error=RequestTimeoutError,
        attributes={"request_sent": True},
        is_resent=True,
        retry_handling=RetryHandling.STATUS_READ,
        timeout=1.0,
        max_response_bytes=2**30,
    )


def invalid_response(name: str, misbehaviour: Misbehaviour) -> Fault:
    """A whole answer came that means nothing: asking again would bring the same, though a later poll may not."""
    return Fault(
        name=name,
        misbehaviour=misbehaviour,
        error=InvalidResponseError,
        attributes={"fields": ()},
        is_resent=False,
        retry_handling=RetryHandling.STATUS_READ,
    )


def api_error(name: str, misbehaviour: Misbehaviour, error: type[APIError], status: int, **attributes: Any) -> Fault:
    """The server says no, and would say so again."""
    return Fault(
        name=name,
        misbehaviour=misbehaviour,
        error=error,
        attributes={"status_code": status, **attributes},
        is_resent=False,
        retry_handling=RetryHandling.RAISED,
        ends_watch=True,
    )


def server_error(
    name: str, misbehaviour: Misbehaviour, status: int, *, is_resent: bool = True, **attributes: Any
) -> Fault:
    """The server, or a gateway, has failed."""
    return Fault(
        name=name,
        misbehaviour=misbehaviour,
        error=ServerError,
        attributes={"status_code": status, **attributes},
        is_resent=is_resent,
        retry_handling=RetryHandling.STATUS_READ,
    )
