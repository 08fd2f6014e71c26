"""All kinds of fault in the soak: the fault matrix's, on the wire, and the simulator's.

Left out are refused connections (the kills cause those), DNS and TLS faults (there are none on loopback), and a
`Retry-After` of minutes (the client would obey it).
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

MAX_RESPONSE_BYTES = 2**16
"""The client's limit: small, so that large bodies, which are among the faults, don't disturb the memory figures."""


@frozen
class FaultKind:
    """A kind of fault.

    Attributes:
        name: Name of the fault.
        fault: A misbehaviour of the server on the wire, or a fault of the simulator.
        watch_error: Class name of the error with which a watch ends at once; None if it keeps polling.
        status: HTTP status of that error.
    """

    name: str
    fault: Misbehaviour | SimulatorFault
    watch_error: str | None = None
    status: int | None = None


async def respond_and_close(connection: Connection) -> bool:
    """Send a correct response, then close the connection that the client keeps in its pool."""
    await connection.send_response()
    return False


def _wire_fault(fault: Fault) -> FaultKind:
    if not fault.ends_watch:
        return FaultKind(fault.name, fault.misbehaviour)
    return FaultKind(fault.name, fault.misbehaviour, fault.error.__name__, fault.attributes["status_code"])


def _invalid_field(field: str, value: object) -> Fault:
    body = json.dumps(wire(5) | {field: value}).encode()
    return invalid_response(f"{field} {json.dumps(value)}", respond_with(body))


def _redirect(status: int) -> Fault:
    response = http_answer(b"", f"{status} Moved", Location="https://127.0.0.1:9/cfp/v1/imagediff/5/status")
    return api_error(f"{status} to another host", send_and_keep_open(response), APIError, status)


def _useless_retry_after(retry_after: str) -> Fault:
    misbehaviour = respond_with(b"", "503 Later", Retry_After=retry_after)
    return server_error(f"Retry-After: {retry_after}", misbehaviour, 503)


_WIRE_FAULTS = [
    *NETWORK_FAULTS,
    *BODY_FAULTS,
    *STATUS_FAULTS,
    *(
        _invalid_field(field, value)
        for field, value in [("jobupdated", "soon"), ("jobprogress", 1.5), ("jobstateid", [])]
    ),
    *map(_redirect, (301, 302, 303, 307, 308)),
    *map(_useless_retry_after, ("soon", "-5", "0", "Thu, 01 Jan 1970 00:00:00 GMT")),
]

_SIMULATOR_FAULTS: list[SimulatorFault] = [
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


def all_fault_kinds(timeout: float) -> list[FaultKind]:
    """Return all kinds, each with a unique name, for a client with this request timeout in seconds."""
    return [
        *map(_wire_fault, _WIRE_FAULTS),
        FaultKind("closed after the response", respond_and_close),
        *(FaultKind(str(fault), fault) for fault in _SIMULATOR_FAULTS),
        FaultKind("slow before acting", Latency(timeout / 4)),
        FaultKind("slow after acting", Latency(timeout / 4, after_acting=True)),
        FaultKind("timeout before acting", Latency(1.5 * timeout)),
        FaultKind("timeout after acting", Latency(1.5 * timeout, after_acting=True)),
        FaultKind("maintenance", Envelope("maintenance"), APIError.__name__, 200),
    ]
