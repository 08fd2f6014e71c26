"""Images to release on a simulated API, and the arguments that release them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.cli.harness import Servers

from clanforge_async.simulator import Simulator

FILES = {"bin/server": "1", "maps/quarry.pak": "1"}
BUILD = {"bin/server": "2", "new.cfg": "2"}
SOURCE = ("--s3", "bucket/builds")
RELEASE = ("--image", "501", "--machine", "77", "--desc", "build 2", *SOURCE)
VERSION = ("--wait-for", "version")


@pytest.fixture
def images(
    simulator: Simulator,
    servers: Servers,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Simulator]:
    """A simulator with images 501 and 502, whose jobs are completed as soon as they are created."""
    assert simulator.requests.count() == 0  # its environment is used, but not it
    images = Simulator(speed=100.0)
    for image_id in (501, 502):
        images.add_image(image_id, game_id=12, files=FILES, machines=1)
    images.add_build_machine(77)
    images.builds["s3://bucket/builds/", "build 2"] = BUILD
    images.builds["s3://bucket/builds/", "no change"] = FILES
    for kind in ("update", "diff", "version", "install"):
        images.script(kind, *["completed"] * 9)
    monkeypatch.setenv("CLANFORGE_SOURCE_KEY", "AKIA-secret")
    monkeypatch.setenv("CLANFORGE_SOURCE_SECRET", "hush/hush")
    with servers.serving(images) as base_url:
        monkeypatch.setenv("CLANFORGE_BASE_URL", base_url)
        yield images
