"""Mock single responses with respx, if a simulated API would be too much.

    pip install clanforge-async pytest pytest-asyncio respx
    pytest examples/test_with_respx.py

respx replaces httpx's connections, so a client without the argument ``transport`` needs no further set-up.
"""

import httpx
import pytest
import respx

from clanforge_async import ClanforgeClient, JobRef, JobState, JobWatcher, job_to_dict
from clanforge_async.testing import VirtualClock, image_version_job

STATUS = "https://api.multiplay.co.uk/cfp/v1/imageversion/9012/status"
RUNNING = httpx.Response(200, json=job_to_dict(image_version_job(9012, "running")))
FAILED = httpx.Response(200, json=job_to_dict(image_version_job(9012, "failed")))


@pytest.mark.asyncio
async def test_an_outage_is_survived(respx_mock: respx.MockRouter, clanforge_clock: VirtualClock) -> None:
    status = respx_mock.get(STATUS).mock(side_effect=[RUNNING, httpx.ConnectError, httpx.Response(503), FAILED])
    async with ClanforgeClient(("key", "secret"), account_service_id=1234) as client, JobWatcher(client) as watcher:
        job = await watcher.wait(JobRef.image_version(9012), check=False)
    assert job.state is JobState.FAILED
    assert status.call_count == 4
    assert clanforge_clock.elapsed > 1  # virtual seconds: the test takes none


@pytest.mark.asyncio
async def test_a_router_can_be_a_transport() -> None:
    router = respx.MockRouter()
    router.get(STATUS).mock(return_value=RUNNING)
    transport = httpx.MockTransport(router.async_handler)
    async with ClanforgeClient(("key", "secret"), account_service_id=1234, transport=transport) as client:
        assert (await client.image_versions.status(9012)).progress == 50
