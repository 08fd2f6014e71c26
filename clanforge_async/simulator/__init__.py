"""A simulated Clanforge API: an ASGI app whose jobs progress with a clock, with fault injection.

Call it in process through `Simulator.client` or ``httpx.ASGITransport(app=simulator.app)``, or serve it on a socket.
Requires the ``simulator`` extra. ::

    simulator = Simulator(speed=60)
    diff = simulator.add_image_diff(5678, states="failed", retries=["queued:60,running:300,completed"])
    simulator.faults.add(Drop(after_acting=True), route="image-diff retry", times=1)
    async with serve(simulator) as base_url:
        ...
    print(simulator.ended_at(diff), simulator.retries_of(diff), simulator.requests.count())

It also simulates the image pipeline, from the update that pulls a build to the machines that run it. ::

    simulator.add_build_machine(77)
    simulator.add_image(501, game_id=12, files={"bin/server": "1"}, machines=5)
    simulator.builds["s3://bucket/server/", "build 2"] = {"bin/server": "2"}
    simulator.script("update", "running:60,failed", "running:90,completed")
    ...
    print(simulator.image(501))
"""

from clanforge_async.simulator.errors import MISSING_EXTRA

try:
    import starlette  # noqa: F401  # pyright: ignore[reportUnusedImport] - only to check that it is installed
except ModuleNotFoundError as _missing:
    raise ImportError(MISSING_EXTRA) from _missing

from clanforge_async.simulator.auth import DEMO_ACCOUNT, Account
from clanforge_async.simulator.builds import Builds
from clanforge_async.simulator.demo import add_demo_pipeline
from clanforge_async.simulator.fault_injection import FaultRule, Faults
from clanforge_async.simulator.faults import (
    Drop,
    Envelope,
    Fault,
    GatewayError,
    Handler,
    Latency,
    SimulatedRequest,
    Stale,
    Truncate,
    Unreadable,
)
from clanforge_async.simulator.images import SimulatedImage, SimulatedInstall
from clanforge_async.simulator.payloads import Listing, Quirks
from clanforge_async.simulator.policies import Policies
from clanforge_async.simulator.requests import Request, RequestLog, Route
from clanforge_async.simulator.runs import Outcome, Run, RunOptions
from clanforge_async.simulator.server import serve
from clanforge_async.simulator.service import Simulator

__all__ = [
    "DEMO_ACCOUNT",
    "Account",
    "Builds",
    "Drop",
    "Envelope",
    "Fault",
    "FaultRule",
    "Faults",
    "GatewayError",
    "Handler",
    "Latency",
    "Listing",
    "Outcome",
    "Policies",
    "Quirks",
    "Request",
    "RequestLog",
    "Route",
    "Run",
    "RunOptions",
    "SimulatedImage",
    "SimulatedInstall",
    "SimulatedRequest",
    "Simulator",
    "Stale",
    "Truncate",
    "Unreadable",
    "add_demo_pipeline",
    "serve",
]
