"""``clanforge release`` killed with SIGKILL and resumed elsewhere, and interrupted with Ctrl-C, over real sockets."""

from __future__ import annotations

import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen
from starlette.responses import Response
from support.cli.harness import CallAndHang, Servers, Spawn

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


@pytest.fixture
def images(simulator: Simulator, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A simulator with three images, whose updates and diffs take a little."""
    assert simulator.requests.count() == 0  # its environment is used, but not it
    images = Simulator(speed=20.0)
    for image_id in IMAGES:
        images.add_image(image_id, game_id=12, files=FILES, machines=1)
    images.add_build_machine(77)
    images.builds["s3://bucket/builds/", "build 2"] = BUILD
    images.script("update", *["created,running:100,completed"] * 2, "completed")
    images.script("diff", *["created,running:40,completed"] * 3)
    images.script("version", *["completed"] * 3)
    images.script("install", *["completed"] * 3)
    monkeypatch.setenv("CLANFORGE_SOURCE_KEY", "key")
    monkeypatch.setenv("CLANFORGE_SOURCE_SECRET", "secret")
    with servers.serving(images) as base_url:
        monkeypatch.setenv("CLANFORGE_BASE_URL", base_url)
        yield images


MOMENTS = [
    ("image-update create", 501),
    ("image-update status", None),
    ("image-diff create", 501),
    ("image-update create", 502),
    ("image rollout", 503),
]
"""Calls in which the process is killed: the server has carried them out, and their answers are lost."""


def test_a_release_survives_five_kills(images: Simulator, spawn: Spawn, tmp_path: Path) -> None:
    """Killed at five moments and resumed each time from a copy of the journal, three images are released once."""
    journal = tmp_path / "machine-0"
    argv = [*RELEASE, "--journal", str(journal)]
    for number, (route, about) in enumerate(MOMENTS, 1):
        images.faults.clear()
        process = spawn(*argv)
        images.faults.add(CallAndHang(process.kill), route=route, id=about)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL, route
        new = tmp_path / f"machine-{number}"
        shutil.copytree(journal, new)
        journal = new
        argv = ["release", "resume", str(journal), "--journal", str(journal), *OPTIONS]
    images.faults.clear()
    process = spawn(*argv)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    created = Counter(
        (str(request.route), request.id)
        for request in images.requests
        if request.route.value.endswith(("create", "retry", "reject"))
    )
    assert set(created.values()) == {1}
    assert len(created) == 3 * len(IMAGES)
    assert [images.image(image_id).files for image_id in IMAGES] == [BUILD] * 3


@frozen
class Interrupt(Fault):
    """Sends a signal to a process while its request is in flight."""

    process: object
    number: int

    async def apply(self, request: SimulatedRequest, handler: Handler) -> Response:  # noqa: ARG002
        response = await handler()
        self.process.send_signal(self.number)  # type: ignore[attr-defined]
        return response


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_prints_the_command_to_resume_with(images: Simulator, spawn: Spawn, number: int, status: int) -> None:
    """Ctrl-C leaves at once, and prints the tokens of the releases that have sent something."""
    process = spawn(*RELEASE)
    images.faults.add(Interrupt(process, number), route="image-update status", times=1)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status
    [line] = [line for line in err.splitlines() if "Resume with" in line]
    assert line.startswith("Interrupted. Resume with: clanforge release resume release/1:501.77.")
    assert line.count("release/1:") == 1
