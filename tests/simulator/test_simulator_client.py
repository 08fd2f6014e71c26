from __future__ import annotations

import pytest

from clanforge_async import AuthenticationError, PermissionDeniedError
from clanforge_async.simulator import Account, Simulator

STUDIO = Account(account_service_id=1, access_key="studio", secret_key="keys")
OTHER = Account(account_service_id=2, token="other")


async def test_a_client_calls_as_an_account() -> None:
    """`Simulator.client` calls in process as the first account or as another, with its keys or its token."""
    simulator = Simulator(accounts=(STUDIO, OTHER))
    simulator.add_image_version(9012, states="running")
    async with simulator.client() as client, simulator.client(OTHER) as other:
        assert (await client.image_versions.status(9012)).id == 9012
        with pytest.raises(PermissionDeniedError):
            await other.image_versions.status(9012)


async def test_a_client_takes_options() -> None:
    """`Simulator.client` passes options on to `ClanforgeClient`."""
    simulator = Simulator()
    assert simulator.client(max_rate=None).max_rate is None
    async with simulator.client(Account(account_service_id=1, token="unknown")) as unknown:
        with pytest.raises(AuthenticationError):
            await unknown.image_versions.status(9012)
