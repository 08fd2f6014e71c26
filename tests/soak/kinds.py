"""Every kind of fault that a server can commit: those of bytes, taken from the fault matrix, and the simulator's own.

Some are left out: refused connections, for the server is killed for those; names and certificates, for there are none
on loopback; and a server that asks to wait for minutes, since the client would do so.
"""

from __future__ import annotations

import json

from attrs import frozen
from support.faults.body_faults import BODY_FAULTS
from support.faults.fault import Fault, api_error, invalid_response, server_error
from support.faults.faulty_server import Connection, Misbehaviour
from support.faults.misbehaviours import respond_with, send_and_keep_open
from support.faults.network_faults import NETWORK_FAULTS
from support.faults.status_faults import STATUS_FAULTS
from support.loopback_server import http_answer
from support.scripted_server import wire

from clanforge_async import APIError
from clanforge_async.simulator import Drop, Envelope, GatewayError, Latency, Stale, Truncate, Unreadable
from clanforge_async.simulator import Fault as SimulatorFault

LARGEST_BODY = 2**16
"""Bytes that the client takes: a large body is a fault of the server's, and is not to be one of the memory's."""


@frozen
class Kind:
    """A kind of fault.

    Attributes:
        name: What goes wrong.
        way: How: what a server does with bytes, or what befalls the request in the simulator.
        ends_watch: The name of the error that a watch ends with at once; None: it waits the fault out.
        status: That error's HTTP status.
    """

    name: str
    way: Misbehaviour | SimulatorFault
    ends_watch: str | None = None
    status: int | None = None


async def closes_when_answered(connection: Connection) -> bool:
    """Answer well, and close the connection that the client keeps."""
    await connection.send_response()
    return False


def _of_bytes(fault: Fault) -> Kind:
    if not fault.ends_watch:
        return Kind(fault.name, fault.misbehaviour)
    return Kind(fault.name, fault.misbehaviour, fault.error.__name__, fault.attributes["status_code"])


def _misshapen(field: str, value: object) -> Fault:
    body = json.dumps(wire(5) | {field: value}).encode()
    return invalid_response(f"{field} {json.dumps(value)}", respond_with(body))


def _moved(status: int) -> Fault:
    elsewhere = http_answer(b"", f"{status} Moved", Location="https://127.0.0.1:9/cfp/v1/imagediff/5/status")
    return api_error(f"{status} to another host", send_and_keep_open(elsewhere), APIError, status)


def _unhelpful(retry_after: str) -> Fault:
    misbehaviour = respond_with(b"", "503 Later", Retry_After=retry_after)
    return server_error(f"Retry-After: {retry_after}", misbehaviour, 503)


_OF_BYTES = [
    *NETWORK_FAULTS,
    *BODY_FAULTS,
    *STATUS_FAULTS,
    *(_misshapen(field, value) for field, value in [("jobupdated", "soon"), ("jobprogress", 1.5), ("jobstateid", [])]),
    *map(_moved, (301, 302, 303, 307, 308)),
    *map(_unhelpful, ("soon", "-5", "0", "Thu, 01 Jan 1970 00:00:00 GMT")),
]

_OF_SIMULATOR: list[SimulatorFault] = [
    Drop(),
    Drop(after_acting=True),
    Truncate(),
    Unreadable(),
    Unreadable(html=True),
    GatewayError(429, retry_after=1),
    GatewayError(500, after_acting=True),
    GatewayError(502),
    GatewayError(503, retry_after=1, as_date=True),
    GatewayError(504, after_acting=True),
    Envelope("maintenance", status=503),
    Stale(),
    Stale(retry_answer=True),
]


def every_kind(timeout: float) -> list[Kind]:
    """Return all of them, each by a name of its own, for a client that gives a request so many seconds."""
    return [
        *map(_of_bytes, _OF_BYTES),
        Kind("closed once answered", closes_when_answered),
        *(Kind(str(fault), fault) for fault in _OF_SIMULATOR),
        Kind("slow to act", Latency(timeout / 4)),
        Kind("slow to answer", Latency(timeout / 4, after_acting=True)),
        Kind("too slow to act", Latency(1.5 * timeout)),
        Kind("too slow to answer", Latency(1.5 * timeout, after_acting=True)),
        Kind("maintenance", Envelope("maintenance"), APIError.__name__, 200),
    ]
