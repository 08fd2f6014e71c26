from __future__ import annotations

import pytest

from clanforge_async import AuthenticationError, PermissionDeniedError
from clanforge_async.simulator import Account, Simulator

STUDIO = Account(account_service_id=1, access_key="marked", secret_key="keys")
OTHER = Account(account_service_id=2, token="marked")


async def test_a_client_of_a_simulator_speaks_for_an_account() -> None:
    """`Simulator.client` calls in process as the first account, or as another, by its keys or by its token."""
    simulator = Simulator(accounts=(STUDIO, OTHER))
    simulator.add_image_version(9012, states="running")
    async with simulator.client() as client, simulator.client(OTHER) as other:
        assert (await client.image_versions.status(9012)).id == 9012
        with pytest.raises(PermissionDeniedError):
            await other.image_versions.status(9012)


async def test_a_client_of_a_simulator_takes_options() -> None:
    """Whatever a client can be told, this one can be told too."""
    simulator = Simulator()
    assert simulator.client(max_rate=None).max_rate is None
    async with simulator.client(Account(account_service_id=1, token="unknown")) as stranger:
        with pytest.raises(AuthenticationError):
            await stranger.image_versions.status(9012)
