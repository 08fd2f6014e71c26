"""Calls with a side effect: never sent again if the outcome of the first request is unknown."""

from __future__ import annotations

from typing import TypeVar

from clanforge_async._http.request import ApiRequest, ApiResponse
from clanforge_async._http.retry_policy import may_have_been_processed
from clanforge_async._http.session import Session
from clanforge_async.errors import ClanforgeError

T = TypeVar("T")


class Resource:
    """One family of API calls."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def _send_once(self, request: ApiRequest[T]) -> ApiResponse[T] | ClanforgeError:
        """Send a request with a side effect.

        Returns:
            The response, or a failure that leaves open whether the server processed the request.

        Raises:
            ClanforgeError: The server has not processed the request.
        """
        try:
            return await self._session.call(request)
        except ClanforgeError as error:
            if not request.was_sent or not may_have_been_processed(error):
                raise
            return error
