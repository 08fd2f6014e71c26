"""Third parties' code around the client: an auth that fetches tokens, observers that raise, other event loops."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

import httpx
import pytest

from clanforge_async import AccessKeyAuth, ConfigurationError
from clanforge_async.simulator import DEMO_ACCOUNT

TOKEN_PATH = "/token"


class TokenAuth(httpx.Auth):
    """Fetches a token before each few requests, then signs as the simulator expects.

    Attributes:
        requests_per_token: Number of requests that a token serves.
    """

    def __init__(self, requests_per_token: float) -> None:
        self.requests_per_token = requests_per_token
        self._signer = AccessKeyAuth(DEMO_ACCOUNT.access_key, DEMO_ACCOUNT.secret_key)
        self._left = 0.0

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Fetch a token if none is left, and sign."""
        if self._left < 1:
            response = yield httpx.Request("POST", request.url.copy_with(path=TOKEN_PATH, query=None), content=b"grant")
            response.raise_for_status()
            self._left = self.requests_per_token
        self._left -= 1
        yield next(self._signer.auth_flow(request))

    def keep_token(self) -> None:
        """Fetch no further tokens."""
        self.requests_per_token = self._left = float("inf")


class FilterError(Exception):
    """A bug in a log filter; the package reports it to the loop's exception handler."""


class RaisingFilter(logging.Filter):
    """A log filter with a bug: every third record raises."""

    def __init__(self) -> None:
        super().__init__()
        self._records = 0

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - logging passes it
        """Raise for every third record."""
        self._records += 1
        if self._records % 3 == 0:
            raise FilterError
        return True


def assert_refused_elsewhere(use: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Assert that a use of a client or a watcher in another thread's event loop raises at once."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(asyncio.wait_for(use(), 5))
        except BaseException as error:  # noqa: BLE001 - it is asserted below
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert len(errors) == 1
    with pytest.raises(ConfigurationError):
        raise errors[0]
