"""Faults, and the expected outcome of each kind of call."""

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
    """How `image_diffs.retry` handles a fault."""

    RESENT = "sent again, since the server cannot have processed it"
    STATUS_READ = "sent once; then the diff's status is read"
    RAISED = "sent once; the error is raised and no status is read"


@frozen(kw_only=True)
class Fault:
    """A fault and its expected outcome.

    Attributes:
        name: Name of the fault.
        misbehaviour: How the server handles a connection.
        error: Type of the error raised if the fault persists.
        attributes: Expected attributes of that error.
        is_resent: Whether a status call is sent again.
        retry_handling: How a retry handles the fault.
        ends_watch: Whether a watch ends at once instead of polling on.
        timeout: Request timeout of the client, in seconds.
        max_response_bytes: Response limit of the client.
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
    """A fault that prevents the connection."""
    return Fault(
        name=name,
        misbehaviour=misbehaviour,
        error=TransportError,
        attributes={"request_sent": False},
        is_resent=True,
        retry_handling=RetryHandling.RESENT,
    )


def transport_error(name: str, misbehaviour: Misbehaviour) -> Fault:
    """A fault that breaks the connection or HTTP's framing."""
    return Fault(
        name=name,
        misbehaviour=misbehaviour,
        error=TransportError,
        attributes={"request_sent": True},
        is_resent=True,
        retry_handling=RetryHandling.STATUS_READ,
    )


def timeout_error(name: str, misbehaviour: Misbehaviour) -> Fault:
    """A fault that keeps the response from completing in time."""
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
    """A complete response without a valid job: sending the request again would not help, a later poll may."""
    return Fault(
        name=name,
        misbehaviour=misbehaviour,
        error=InvalidResponseError,
        attributes={"fields": ()},
        is_resent=False,
        retry_handling=RetryHandling.STATUS_READ,
    )


def api_error(name: str, misbehaviour: Misbehaviour, error: type[APIError], status: int, **attributes: Any) -> Fault:
    """A response that rejects the request and would reject it again."""
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
    """A failure of the server or of a gateway."""
    return Fault(
        name=name,
        misbehaviour=misbehaviour,
        error=ServerError,
        attributes={"status_code": status, **attributes},
        is_resent=is_resent,
        retry_handling=RetryHandling.STATUS_READ,
    )
