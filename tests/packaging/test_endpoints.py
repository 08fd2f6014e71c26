"""Every public call of the client has a test, a typing line and a route in the simulator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from support.endpoints import endpoints, missing_parts

from clanforge_async._http.request import ApiRequest
from clanforge_async.resources.base import Resource
from clanforge_async.simulator import Simulator


class Servers(Resource):
    """An endpoint that a release could add, without its test, typing line and route."""

    async def reboot(self, server_id: int) -> Mapping[str, Any]:
        """Reboot a server."""
        return (await self._session.call(ApiRequest(f"/cfp/v1/server/{server_id}/reboot", dict))).value


async def test_no_call_lacks_a_part() -> None:
    """Each call has a test, a typing line and a simulator route."""
    simulator = Simulator()
    async with simulator.client() as client:
        assert {"image_diffs.retry", "image_diffs.status", "image_versions.status"} <= dict(endpoints(client)).keys()
        assert await missing_parts(client, simulator) == []


async def test_a_call_that_lacks_every_part_is_reported() -> None:
    """A call without a test, a typing line and a simulator route is reported once for each."""
    simulator = Simulator()
    async with simulator.client() as client:
        vars(client)["servers"] = Servers(client._session)
        assert await missing_parts(client, simulator) == [
            "servers.reboot has no test in tests/calls",
            "servers.reboot has no line in tests/typed",
            "servers.reboot has no route in the simulator",
        ]
