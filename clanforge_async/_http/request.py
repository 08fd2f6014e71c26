"""A call of the API and the answer to it, at the level of HTTP."""

from __future__ import annotations

import math
from collections.abc import Mapping

import httpx
from attrs import define, frozen

from clanforge_async.refs import JobKind


@define(eq=False)
class Call:
    """One call of the API, from the public method to the wire and back.

    Attributes:
        kind: What kind of job it answers with.
        path: The path below the base URL.
        params: The query, without what every call carries.
        repeatable: Whether sending it twice does no more than sending it once.
        sent_at: When it was last handed to the network, by the event loop's clock.
        request: As it was built when it was first sent, so that a call that is sent again builds nothing.
    """

    kind: JobKind
    path: str
    params: Mapping[str, str] = {}
    repeatable: bool = True
    sent_at: float = -math.inf
    request: httpx.Request | None = None

    @property
    def was_sent(self) -> bool:
        """Whether the last attempt came so far as to hand it to the network."""
        return self.sent_at > -math.inf


@frozen(eq=False)
class Reply:
    """An HTTP answer, read to its end.

    Attributes:
        method: Of the request.
        url: Of the request, without its query.
        status: The status code.
        headers: The answer's headers, whatever the case of their names.
        body: The whole body, decompressed.
    """

    method: str
    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes
