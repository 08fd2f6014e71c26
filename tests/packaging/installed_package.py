"""Checks the installed wheel with one extra or none; run as a script, with the extra as its only argument.

Without an argument, it checks the base dependencies alone.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from importlib import import_module, metadata, resources
from pathlib import Path
from typing import Any

import httpx
from support.loopback_server import LoopbackServer, http_answer

import clanforge_async
from clanforge_async import ClanforgeClient, ImageVersionJob, JobRef, JobState, JobWatcher, job_to_dict

EXTRAS = {"cli", "simulator", "aiohttp", "temporal", "all"}
ONLY_IN_EXTRAS = {"typer", "rich", "starlette", "uvicorn", "aiohttp", "httpx_aiohttp", "temporalio"}
NOW = datetime(2026, 11, 22, tzinfo=UTC)
COMPLETED = job_to_dict(
    ImageVersionJob(id=9012, state=JobState.COMPLETED, created_at=NOW, updated_at=NOW, progress=100)
)
CREDENTIALS = {
    "CLANFORGE_ACCESS_KEY": "demo-access-key",
    "CLANFORGE_SECRET_KEY": "demo-secret-key",
    "CLANFORGE_ACCOUNT_SERVICE_ID": "1234",
}


def clanforge(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run the installed command; return its exit status and output."""
    program = shutil.which("clanforge", path=Path(sys.executable).parent)
    assert program is not None
    finished = subprocess.run(  # noqa: S603 - the command just installed
        [program, *arguments], env=os.environ | environment, capture_output=True, check=False, text=True
    )
    return finished.returncode, finished.stdout + finished.stderr


def client(**options: Any) -> ClanforgeClient:
    return ClanforgeClient(("demo-access-key", "demo-secret-key"), account_service_id=1234, **options)


async def wait_for_job(client: ClanforgeClient) -> None:
    async with client, JobWatcher(client, interval=0.01) as watcher:
        assert (await watcher.wait(JobRef.image_version(9012))).is_completed


async def check_base() -> None:
    about = metadata.metadata("clanforge-async")
    assert about["Name"] == "clanforge-async"
    assert about["Requires-Python"] == ">=3.11"
    assert about["License-Expression"] == "MIT"
    assert set(about.get_all("Provides-Extra", [])) == EXTRAS
    assert about["Summary"]
    assert "pip install 'clanforge-async" in about.json["description"]
    for file in ("py.typed", "cli/output/report.html"):
        assert resources.files(clanforge_async).joinpath(file).is_file(), file
    assert all(hasattr(clanforge_async, name) for name in clanforge_async.__all__)
    assert not ONLY_IN_EXTRAS & set(sys.modules), "importing the package loads an extra"
    (plugin,) = metadata.entry_points(group="pytest11", name="clanforge")
    assert plugin.value == "clanforge_async.pytest_plugin"
    await wait_for_job(client(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=COMPLETED))))
    assert clanforge("--version") == (2, "error: typer is not installed: pip install 'clanforge-async[cli]'\n")
    try:
        import_module("clanforge_async.simulator")
    except ImportError as error:
        assert "pip install 'clanforge-async[simulator]'" in str(error)  # noqa: PT017 - pytest is not installed either
    else:
        raise AssertionError


async def check_cli() -> None:
    assert clanforge("--version") == (0, f"clanforge {metadata.version('clanforge-async')}\n")
    async with LoopbackServer(lambda _: http_answer(COMPLETED)) as server:
        command = asyncio.to_thread(
            clanforge, "watch", "image-version/9012", CLANFORGE_BASE_URL=server.url, **CREDENTIALS
        )
        status, output = await command
    assert status == 0, output


async def check_cli_without_simulator() -> None:
    status, output = clanforge("demo")
    assert status == 2
    assert output.endswith("is not installed: pip install 'clanforge-async[cli,simulator]'\n")


async def check_simulator() -> None:
    from clanforge_async.simulator import Simulator, serve  # noqa: PLC0415 - needs the extra

    simulator = Simulator(speed=1000)
    simulator.add_image_version(9012, duration=10)
    await wait_for_job(client(transport=httpx.ASGITransport(app=simulator.app)))
    async with serve(simulator) as base_url:
        await wait_for_job(client(base_url=base_url))


async def check_aiohttp() -> None:
    from httpx_aiohttp import AiohttpTransport  # noqa: PLC0415 - needs the extra

    async with LoopbackServer(lambda _: http_answer(COMPLETED)) as server:
        await wait_for_job(client(base_url=server.url, transport=AiohttpTransport()))
        assert len(server.requests) == 1


async def check_temporal() -> None:
    from clanforge_async import temporal  # noqa: PLC0415 - needs the extra

    assert temporal.__all__ == ["ClanforgePlugin", "TemporalWatcher", "set_max_rate"]
    assert temporal.ClanforgePlugin(client()).name() == "clanforge"


CHECKS = {
    "": [check_base],
    "cli": [check_cli, check_cli_without_simulator],
    "simulator": [check_simulator],
    "aiohttp": [check_aiohttp],
    "temporal": [check_temporal],
    "all": [check_cli, check_simulator, check_aiohttp, check_temporal],
}

if __name__ == "__main__":
    extra = "".join(sys.argv[1:])
    for check in CHECKS[extra]:
        asyncio.run(check())
    sys.stdout.write(f"clanforge-async works as installed{extra and f' with {extra}'}\n")
