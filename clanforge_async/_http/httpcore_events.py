"""Events of one exchange that httpcore reports through its `trace` extension.

Their names are public but may change; `docs/design/transport.md` lists the code that depends on them and the tests
that fail when they change.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

_CONNECTED = ("connect_tcp.complete", "connect_unix_socket.complete")
_AT_RISK = (*_CONNECTED, "start_tls.complete", "response_closed.started")
_AWAITING_HEADERS = "http11.receive_response_headers.started"
_RECEIVED_HEADERS = "http11.receive_response_headers.complete"


class HttpcoreEvents:
    """The `trace` extension of one request.

    Attributes:
        is_connection_at_risk: Whether httpcore's pool would lose the connection if the request were cancelled now.
        any_seen: Whether the transport reports events at all, as every transport based on httpcore does.
    """

    __slots__ = ("_loop_has_turned", "_stream", "any_seen", "is_connection_at_risk")

    def __init__(self) -> None:
        self.is_connection_at_risk = True
        self.any_seen = False
        self._stream: Any = None
        self._loop_has_turned = True

    async def __call__(self, event: str, info: dict[str, Any]) -> None:
        """Record an event.

        Raises:
            httpx.RemoteProtocolError: Data arrived before the request was sent: the server sent more than the previous
                response. httpcore keeps such bytes and would read them as this response.
        """
        self.any_seen = True
        self.is_connection_at_risk = event.endswith(_AT_RISK)
        if event.endswith(_CONNECTED):
            self._stream = info["return_value"]
        elif event.endswith("start_tls.failed"):
            await self._stream.aclose()  # httpcore does this after an error, but not after a cancellation
        elif event == _AWAITING_HEADERS:
            self._loop_has_turned = False
            asyncio.get_running_loop().call_soon(self._note_turn)
        elif event == _RECEIVED_HEADERS and not self._loop_has_turned:  # a network read takes an iteration of the loop
            msg = "the server sent more than the previous response"
            raise httpx.RemoteProtocolError(msg)

    def _note_turn(self) -> None:
        self._loop_has_turned = True
