"""Invalid arguments are refused when the client is created, with a message that names them."""

from __future__ import annotations

import types
from typing import Any

import httpx
import pytest

from clanforge_async import ClanforgeClient, ConfigurationError, JobWatcher

HUGE = 10**400


class FromAnotherLibrary:
    """Looks like httpx's class of the same name, as in a fork of httpx."""

    async def handle_async_request(self, request: object) -> object:
        return request

    async def aclose(self) -> None:
        pass


def client(**arguments: Any) -> ClanforgeClient:
    defaults: dict[str, Any] = {"auth": ("k", "s"), "account_service_id": 7}
    return ClanforgeClient(**defaults | arguments)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("transport", FromAnotherLibrary()),
        ("transport", FromAnotherLibrary),
        ("transport", httpx.HTTPTransport(verify=False)),
        ("transport", "https"),
        ("auth", FromAnotherLibrary()),
        ("auth", types.SimpleNamespace(auth_flow=None)),
        ("timeout", FromAnotherLibrary()),
        ("timeout", HUGE),
        ("timeout", httpx.Timeout(HUGE)),
        ("timeout", httpx.Timeout(5, read=float("nan"))),
        ("max_rate", HUGE),
        ("max_rate", float("nan")),
    ],
)
def test_an_argument_that_cannot_work_is_named(name: str, value: Any) -> None:
    """A foreign object, or a number too large for a float, is a `ConfigurationError` that names the argument."""
    with pytest.raises(ConfigurationError, match=name):
        client(**{name: value})


@pytest.mark.parametrize("name", ["timeout", "outage_tolerance", "stale_after", "interval"])
async def test_a_watchers_numbers_are_checked_too(name: str) -> None:
    """A watcher checks its numbers in the same way."""
    async with client(transport=httpx.MockTransport(lambda _: httpx.Response(500))) as some_client:
        with pytest.raises(ConfigurationError, match=name):
            JobWatcher(some_client, **{name: HUGE})  # type: ignore[arg-type]
