"""An API call as a request, and its response, raw and parsed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

import httpx
from attrs import define, field, frozen

from clanforge_async._codec.masking import mask_secrets

T_co = TypeVar("T_co", covariant=True)


class HttpRequest(httpx.Request):
    """An HTTP request whose repr omits the query, since that can contain the secrets of a source."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self.method!r}, {self.url.path!r})>"


@define(eq=False)
class ApiRequest(Generic[T_co]):
    """One call of the API.

    Attributes:
        path: Path below the base URL.
        parse: Parses the JSON object of a successful response; raises `InvalidResponseError` if it cannot.
        params: Query parameters of this call, without those that every call sends. They can contain secrets.
        sends_account: Whether the account service id is sent as a query parameter, as in all calls but one.
        idempotent: Whether sending the request twice has the same effect as sending it once.
        sent_at: Event loop time at which the request was last handed to the transport; -inf if it was not.
        sent_by: Event loop time by which a request with a side effect was certainly sent, if it was.
        http_request: The HTTP request, which is built once and reused if the call is sent again.
    """

    path: str
    parse: Callable[[Mapping[str, Any]], T_co]
    params: Mapping[str, str] = field(factory=dict[str, str], repr=False)
    sends_account: bool = True
    idempotent: bool = True
    sent_at: float = -math.inf
    sent_by: float = math.inf
    http_request: HttpRequest | None = field(default=None, repr=False)

    @property
    def has_secrets(self) -> bool:
        """Whether a parameter contains the secrets of a source."""
        return any(mask_secrets(value) != value for value in self.params.values())

    @property
    def was_sent(self) -> bool:
        """Whether the last attempt handed the request to the transport."""
        return self.sent_at > -math.inf


@frozen(eq=False)
class RawResponse:
    """An HTTP response with its body read.

    Attributes:
        method: Method of the request.
        url: URL of the request, without its query.
        status: Status code.
        headers: Response headers; names are case-insensitive.
        body: The whole body, decompressed.
    """

    method: str
    url: str
    status: int
    headers: httpx.Headers = field(repr=False)  # like the body, it may quote a request with the secrets of a source
    body: bytes = field(repr=False)


@frozen
class ApiResponse(Generic[T_co]):
    """A parsed, successful response.

    Attributes:
        value: The result of the call.
        server_time: Time of the response by the server's clock (``Date``); None if the header is missing.
    """

    value: T_co
    server_time: datetime | None = None


class RequestObserver(Protocol):
    """Observes the requests of a client's calls."""

    def sent(self, request: ApiRequest[Any], /) -> None:
        """Record that a request is passed to the transport."""

    def ended(self, request: ApiRequest[Any], response: RawResponse | None, error: BaseException | None, /) -> None:
        """Record the outcome of a request.

        Args:
            request: The request.
            response: The response, of any status; None without one.
            error: The failure, or the cancellation; None if the call has a result.
        """
