"""JSON objects of images and installs as the API sends them, and a client with one response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from support.scripted_server import wire

from clanforge_async import ClanforgeClient, JobState

IMAGE, MACHINE, GAME = 501, 77, 12


def options_wire(image_id: int = IMAGE, **fields: Any) -> dict[str, Any]:
    """Return image options with one game, one image and one build machine."""
    usual: dict[str, Any] = {
        "games": [{"gameid": GAME, "name": "Ashfall"}],
        "images": [{"imageid": image_id, "name": "linux", "gameversionid": "88"}],
        "machines": [{"machineid": MACHINE, "name": "build-1"}],
    }
    return usual | fields


def image_wire(**fields: Any) -> dict[str, Any]:
    """Return an image as the API sends it, flat."""
    usual: dict[str, Any] = {
        "imageid": IMAGE,
        "active": 1,
        "gameversionid": 88,
        "latestversionid": 9012,
        "path": "/games/12/501",
        "created_by": 4,
        "updated_by": 5,
        "created_at": "2025-11-22 00:00:00",
        "updated_at": "2025-11-22 01:00:00",
    }
    return usual | fields


def install_wire(install_id: int, state: JobState = JobState.PENDING, **fields: Any) -> dict[str, Any]:
    """Return an entry of the list of installs."""
    usual: dict[str, Any] = {
        **wire(install_id, state),
        "jobid": install_id,
        "mirroring": False,
        "restart": 0,
        "location": "Europe",
        "machine": "501-1",
        "mirror": None,
        "imagepath": "/games/12/501",
        "install_at": 1_763_769_600,
        "target_imageversionid": 9012,
    }
    return usual | fields


def rollout_wire(**fields: Any) -> dict[str, Any]:
    """Return the numbers of machines in a rollout."""
    return {"pending_machines": 2, "failed_machines": 1, "completed_machines": 4} | fields


def client_of(answer: httpx.Response | Callable[[httpx.Request], httpx.Response], **options: Any) -> ClanforgeClient:
    """Return a client whose requests all get this response, or the response of a function."""
    handler = answer if callable(answer) else lambda _: answer
    arguments: dict[str, Any] = {
        "auth": ("key", "secret"),
        "account_service_id": 7,
        "max_rate": None,
        "max_retries": 0,
        "transport": httpx.MockTransport(handler),
    }
    return ClanforgeClient(**(arguments | options))


async def sent_by(call: Callable[[ClanforgeClient], Awaitable[Any]], body: Any, **options: Any) -> str:
    """Return path and query of the one request that a call sends, byte for byte.

    Args:
        call: Makes the call.
        body: The JSON of the response.
        **options: Arguments of the client.
    """
    requests: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json=body)

    async with client_of(handle, **options) as client:
        await call(client)
    (request,) = requests
    assert request.method == "GET"
    return request.url.raw_path.decode("ascii")


def unreachable(request: httpx.Request) -> httpx.Response:
    """Fail the test: no request may be sent."""
    pytest.fail(f"a request was sent: {request.url.path}")
