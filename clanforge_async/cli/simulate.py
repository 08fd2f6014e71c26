"""``clanforge simulate``: a simulated API on a local port."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack

from attrs import frozen

from clanforge_async import ConfigurationError, JobKind, JobRef
from clanforge_async.cli.formatting import format_job_count, parse_duration, print_line
from clanforge_async.cli.parameters import SimulationOptions
from clanforge_async.simulator import (
    DEMO_ACCOUNT,
    Drop,
    Fault,
    GatewayError,
    Latency,
    Run,
    Simulator,
    Stale,
    Truncate,
    Unreadable,
    add_demo_pipeline,
    serve,
)
from clanforge_async.simulator.demo import BUILD_MACHINE, IMAGES

_FIRST_ID = 20001
"""Id of the first image version of ``--jobs``."""
_FAULTS: dict[str, Callable[[], Fault]] = {
    "429": lambda: GatewayError(429, retry_after=1),
    "502": lambda: GatewayError(502),
    "503": lambda: GatewayError(503, retry_after=1),
    "drop": Drop,
    "truncate": Truncate,
    "html": lambda: Unreadable(html=True),
    "stale": Stale,
}
_LATENCY = "latency"


@frozen
class InjectedFault:
    """A fault, and the share of the requests to which it is applied.

    Attributes:
        fault: The fault.
        share: The share, from 0 to 1.
    """

    fault: Fault
    share: float


async def simulate(host: str, port: int, options: SimulationOptions) -> int:
    """Serve a simulator with a few jobs until cancelled."""
    simulator = Simulator(speed=options.speed)
    refs = _add_jobs(simulator)
    many = _add_many_jobs(simulator, options)
    for injected in map(parse_fault, options.faults or ()):
        simulator.faults.add(injected.fault, probability=injected.share)
    async with AsyncExitStack() as stack:
        try:
            base_url = await stack.enter_async_context(serve(simulator, host, port))
        except OSError as error:
            msg = f"{error.strerror}; choose another --host or --port"
            raise ConfigurationError(msg) from error
        for line in instructions(base_url, refs, many):
            print_line(line)
        forever: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        return await forever


def parse_fault(text: str) -> InjectedFault:
    """Read ``502``, ``502:0.1`` or ``latency=2s:0.5``.

    Raises:
        ConfigurationError: The text has another form.
    """
    name, _, share = text.partition(":")
    try:
        probability = float(share or 1)
    except ValueError:
        probability = math.nan
    if not 0 <= probability <= 1:
        msg = f"--fault {text}: the share must be a number from 0 to 1"
        raise ConfigurationError(msg)
    return InjectedFault(_make_fault(text, name), probability)


def _make_fault(text: str, name: str) -> Fault:
    if name in _FAULTS:
        return _FAULTS[name]()
    kind, _, duration = name.partition("=")
    if kind == _LATENCY:
        try:
            return Latency(parse_duration(duration))
        except ValueError as error:
            msg = f"--fault {text}: {error}"
            raise ConfigurationError(msg) from None
    msg = f"--fault {text}: not one of {', '.join(_FAULTS)}, latency=2s"
    raise ConfigurationError(msg)


def _add_many_jobs(simulator: Simulator, options: SimulationOptions) -> list[JobRef]:
    ids = range(_FIRST_ID, _FIRST_ID + options.jobs)
    try:
        return [simulator.add_image_version(job_id, states=options.states) for job_id in ids]
    except ValueError as error:
        msg = f"--states: {error}"
        raise ConfigurationError(msg) from None


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


def instructions(base_url: str, refs: Sequence[JobRef], many: Sequence[JobRef]) -> Iterator[str]:
    """Yield the lines that explain how to use the server.

    Args:
        base_url: The server's address.
        refs: Its jobs.
        many: The jobs that ``--jobs`` adds.
    """
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
    if many:
        first, last = many[0].id, many[-1].id
        yield f"  seq -f image-version/%.0f {first} {last} | clanforge watch -   # {format_job_count(len(many))}"
    yield ""
    yield f"Images {', '.join(map(str, IMAGES))} can be updated on build machine {BUILD_MACHINE}."
