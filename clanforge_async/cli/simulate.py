"""``clanforge simulate``: a simulated API on a local port."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

from clanforge_async import ConfigurationError, JobKind, JobRef
from clanforge_async.cli.formatting import print_line
from clanforge_async.simulator import DEMO_ACCOUNT, Run, Simulator, add_demo_pipeline, serve
from clanforge_async.simulator.demo import BUILD_MACHINE, IMAGES


async def simulate(host: str, port: int, speed: float) -> int:
    """Serve a simulator with a few jobs until cancelled."""
    simulator = Simulator(speed=speed)
    refs = _add_jobs(simulator)
    async with AsyncExitStack() as stack:
        try:
            base_url = await stack.enter_async_context(serve(simulator, host, port))
        except OSError as error:
            msg = f"{error.strerror}; choose another --host or --port"
            raise ConfigurationError(msg) from error
        for line in _instructions(base_url, refs):
            print_line(line)
        forever: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        return await forever


def _add_jobs(simulator: Simulator) -> list[JobRef]:
    add_demo_pipeline(simulator)
    return [
        simulator.add_image_version(9001, duration=0),
        simulator.add_image_version(9002, duration=45),
        simulator.add_image_version(9003, duration=600, queued_for=30),
        simulator.add_image_version(9004, duration=60, outcome="failed"),
        simulator.add_image_version(9005, duration=0, outcome="squashed"),
        simulator.add_image_version(9012, duration=30),
        simulator.add_image_diff(5001, duration=0),
        simulator.add_image_diff(5002, duration=90),
        simulator.add_image_diff(5003, duration=0, outcome="failed", retries=[Run(duration=30, queued_for=5)]),
        simulator.add_image_diff(5004, duration=0, locked_by=5001),
        simulator.add_image_diff(5678, duration=0, outcome="failed", retries=[Run(duration=30, queued_for=5)]),
    ]


def _instructions(base_url: str, refs: list[JobRef]) -> Iterator[str]:
    yield f"Simulated Clanforge API at {base_url} until Ctrl-C. In another shell:"
    yield ""
    yield f"  export CLANFORGE_BASE_URL={base_url}"
    yield f"  export CLANFORGE_ACCESS_KEY={DEMO_ACCOUNT.access_key}"
    yield f"  export CLANFORGE_SECRET_KEY={DEMO_ACCOUNT.secret_key}"
    yield f"  export CLANFORGE_ACCOUNT_SERVICE_ID={DEMO_ACCOUNT.account_service_id}"
    yield ""
    for kind in (JobKind.IMAGE_VERSION, JobKind.IMAGE_DIFF):
        yield f"  clanforge watch {' '.join(str(ref) for ref in refs if ref.kind is kind)}"
    yield "  clanforge image-diff retry 5003 --wait"
    yield "  clanforge image-diff retry 5004   # rejected: the image is locked"
    yield ""
    yield f"Images {', '.join(map(str, IMAGES))} can be updated on build machine {BUILD_MACHINE}."
