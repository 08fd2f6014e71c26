"""Body of a request that must not be sent twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx

from clanforge_async._http.request import ApiRequest, HttpRequest


def with_single_use_body(http_request: httpx.Request, request: ApiRequest[Any]) -> HttpRequest:
    """Return the HTTP request with an empty body that can be read only once and that records the time of the read."""
    headers = httpx.Headers(http_request.headers)
    headers["Content-Length"] = "0"
    stream = _SingleUseBody(request)
    return HttpRequest(
        http_request.method, http_request.url, headers=headers, stream=stream, extensions=http_request.extensions
    )


class _SingleUseBody(httpx.AsyncByteStream):
    """An empty body.

    aiohttp automatically sends every GET again if the connection drops, unless its body was already read. A GET with
    a side effect must not be sent again. Transports read a body after they have sent the headers.
    """

    def __init__(self, request: ApiRequest[Any]) -> None:
        self._request: ApiRequest[Any] | None = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._request is None:
            raise httpx.StreamConsumed
        self._request.sent_by = asyncio.get_running_loop().time()
        self._request = None
        return
        yield b""
