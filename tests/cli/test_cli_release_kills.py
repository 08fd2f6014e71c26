"""``clanforge release`` killed with SIGKILL and resumed elsewhere, and interrupted with Ctrl-C, over real sockets."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import define
from starlette.responses import Response
from support.cli.harness import Servers, Spawn

from clanforge_async.simulator import Fault, Handler, SimulatedRequest, Simulator

FILES = {"bin/server": "1"}
BUILD = {"bin/server": "2"}
IMAGES = (501, 502, 503)
OPTIONS = ("--yes", "--exclusive", "--settle", "0")
RELEASE = (
    "release",
    "--image",
    "501,502,503",
    "--machine",
    "77",
    "--desc",
    "build 2",
    "--s3",
    "bucket/builds",
    *OPTIONS,
)


class StoppedClock:
    """A clock that is stopped until `start`; then it runs a hundred times as fast as real time."""

    def __init__(self) -> None:
        self._now = float(int(time.time()))
        self._started: float | None = None

    def __call__(self) -> float:
        return self._now + (0.0 if self._started is None else 100.0 * (time.monotonic() - self._started))

    def advance(self, seconds: float) -> None:
        self._now += seconds

    def start(self) -> None:
        self._started = time.monotonic()


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture
def images(
    simulator: Simulator, servers: Servers, monkeypatch: pytest.MonkeyPatch, clock: StoppedClock
) -> Iterator[Simulator]:
    """A simulator with three images, whose jobs take a few seconds of its clock."""
    assert simulator.requests.count() == 0  # its environment is used, but not it
    images = Simulator(clock=clock)
    for image_id in IMAGES:
        images.add_image(image_id, game_id=12, files=FILES, machines=1)
    images.add_build_machine(77)
    images.builds["s3://bucket/builds/", "build 2"] = BUILD
    for kind in ("update", "diff", "version", "install"):
        images.script(kind, *["created,running:9,completed"] * 3)
    monkeypatch.setenv("CLANFORGE_SOURCE_KEY", "key")
    monkeypatch.setenv("CLANFORGE_SOURCE_SECRET", "secret")
    with servers.serving(images) as base_url:
        monkeypatch.setenv("CLANFORGE_BASE_URL", base_url)
        yield images


MOMENTS = [
    ("image-update create", 501, 1),
    ("image-update status", None, 2),
    ("image-diff create", 501, 1),
    ("image-update create", 502, 1),
    ("image-update status", None, 2),
]
"""Requests at which the process is killed: the call, its image, and the number of the request among equal ones.

The server processes each of them, but its response is lost. The second status of an update is read after the previous
process had adopted that update.
"""


@define
class Kill(Fault):
    """Kills a process while its request is in flight, after some others.

    Attributes:
        process: The process.
        left: Requests until then.
    """

    process: subprocess.Popen[str]
    left: int

    async def apply(self, request: SimulatedRequest, handler: Handler) -> Response:
        response = await handler()
        self.left -= 1
        if self.left == 0:
            self.process.kill()
            await request.disconnected()
        return response


def test_a_release_survives_five_kills(images: Simulator, clock: StoppedClock, spawn: Spawn, tmp_path: Path) -> None:
    """Killed at five moments and resumed each time from a copy of the journal, three images are released once."""
    journal = tmp_path / "machine-0"
    argv = [*RELEASE, "--journal", str(journal)]
    for number, (route, about, count) in enumerate(MOMENTS, 1):
        images.faults.clear()
        process = spawn(*argv)
        images.faults.add(Kill(process, count), route=route, id=about)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL, route
        if number == 2:  # the first update ends
            clock.advance(60.0)
        new = tmp_path / f"machine-{number}"
        shutil.copytree(journal, new)
        journal = new
        argv = ["release", "resume", str(journal), "--journal", str(journal), *OPTIONS]
    images.faults.clear()
    clock.start()
    process = spawn(*argv)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    created = Counter(
        (str(request.route), request.id)
        for request in images.requests
        if request.route.value.endswith(("create", "retry", "reject"))
    )
    assert set(created.values()) == {1}, created
    assert len(created) == 3 * len(IMAGES)
    assert [images.image(image_id).files for image_id in IMAGES] == [BUILD] * 3


@define
class Interrupt(Fault):
    """Sends a signal to a process while its request is in flight."""

    process: subprocess.Popen[str]
    number: int

    async def apply(self, request: SimulatedRequest, handler: Handler) -> Response:  # noqa: ARG002
        response = await handler()
        self.process.send_signal(self.number)
        return response


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_prints_the_command_to_resume_with(images: Simulator, spawn: Spawn, number: int, status: int) -> None:
    """Ctrl-C exits at once, and prints the tokens of the releases that have sent calls."""
    process = spawn(*RELEASE)
    images.faults.add(Interrupt(process, number), route="image-update status", times=1)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status
    [line] = [line for line in err.splitlines() if "Resume with" in line]
    assert line.startswith("Interrupted. Resume with: clanforge release resume release/1:501.77.")
    assert line.count("release/1:") == 1
