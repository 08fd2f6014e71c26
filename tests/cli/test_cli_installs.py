"""The commands for installs: the list of incomplete ones, and the queueing of a waiting one."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest
from support.cli.harness import CallAndHang, Clanforge, OverrideFields, Servers
from support.scripted_server import wire

from clanforge_async import JobWatcher
from clanforge_async.simulator import Drop, GatewayError, Policies, Simulator


async def release(simulator: Simulator, image_id: int, build: str = "build 1") -> int:
    """Create a version of an image whose installs wait until they are queued, and return its id."""
    async with simulator.client() as client, JobWatcher(client, interval=0.02) as watcher:
        await watcher.wait(await client.image_updates.create(image_id, 77, build))
        diff = await watcher.wait(await client.image_diffs.create(image_id, 77))
        job = await client.image_versions.create(diff.id, restart=True, install_at=None)
        return (await watcher.wait(job)).id


@pytest.fixture
def pipeline(simulator: Simulator, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A simulated API whose installs wait until they are queued."""
    del simulator  # only its environment is used
    pipeline = Simulator(speed=10_000, policies=Policies(omitted_install_at="manual", install_lag=0))
    pipeline.add_build_machine(77)
    source = "s3://key:secret@builds/linux"
    pipeline.add_image(501, game_id=12, machines=["alpha", "beta"], mirrors=1, update_url=source)
    pipeline.add_image(502, game_id=12, machines=["gamma"], update_url=source)
    with servers.serving(pipeline) as base_url:
        monkeypatch.setenv("CLANFORGE_BASE_URL", base_url)
        yield pipeline


def install_on(simulator: Simulator, image_id: int, machine: str) -> str:
    """Return the id of the latest install of an image on a machine."""
    return str([install.id for install in simulator.image(image_id).installs if install.machine == machine][-1])


@pytest.mark.parametrize("options", [(), ("--json",), ("--quiet",)])
def test_no_installs_are_an_empty_list(pipeline: Simulator, clanforge: Clanforge, options: tuple[str, ...]) -> None:
    """Without incomplete installs stdout is empty, and stderr says that none may have begun yet."""
    finished = clanforge("image-install", "list", *options)
    assert (finished.status, finished.out) == (0, "")
    message = "no incomplete installs: all have ended, or none has begun yet\n"
    assert finished.err == ("" if options else message)
    assert pipeline.requests.count("image-install list") == 1


def test_installs_of_all_images_are_listed(pipeline: Simulator, clanforge: Clanforge) -> None:
    """The list has the installs of all images; with --version, those of one image version."""
    first, second = (asyncio.run(release(pipeline, image_id)) for image_id in (501, 502))
    finished = clanforge("image-install", "list")
    assert (finished.status, finished.err) == (0, "")
    headings, *rows = [line.split() for line in finished.lines]
    assert headings == ["INSTALL", "VERSION", "MACHINE", "LOCATION", "STATE", "PROGRESS", "UPDATED", "ERROR"]
    assert [row[1] for row in rows] == [str(first)] * 3 + [str(second)]
    assert [row[2] for row in rows] == ["mirror", "alpha", "beta", "gamma"]
    [_, line] = clanforge("image-install", "list", "--version", str(second)).lines
    assert line.split() == rows[-1]
    assert clanforge("image-install", "list", "-q").out == ""


def test_installs_as_json(pipeline: Simulator, clanforge: Clanforge) -> None:
    """With --json, each install is an object with all its fields."""
    version = asyncio.run(release(pipeline, 502))
    [record] = clanforge("image-install", "list", "--json").records
    times = {record.pop(name) for name in ("created_at", "updated_at")}
    assert all(time.endswith("Z") for time in times)
    assert record == {
        "event": "install",
        "id": int(install_on(pipeline, 502, "gamma")),
        "state": "pending",
        "state_id": 2,
        "state_name": "Pending",
        "started_at": None,
        "eta": None,
        "progress": 0,
        "failure_count": 0,
        "error": None,
        "image_version_id": version,
        "mirroring": False,
        "restart": True,
        "location": "Europe",
        "machine": "gamma",
        "mirror": None,
        "image_path": "/games/12/502",
        "install_at": None,
    }


def test_missing_fields_of_an_install_are_dashes(pipeline: Simulator, clanforge: Clanforge) -> None:
    """Fields that the server omits are shown as a dash, and an unknown state by the server's name."""
    entry = wire(8, None, jobid=8, jobstateid=99, jobstatename="Frobbing", jobprogress=0)
    pipeline.faults.add(OverrideFields({"installs": [entry]}), route="image-install list")
    [_, line] = clanforge("image-install", "list").lines
    assert line.split() == ["8", "-", "-", "-", "Frobbing", "0", "%", "2025-11-22T00:00:00Z"]


def test_an_install_is_queued(pipeline: Simulator, clanforge: Clanforge) -> None:
    """A waiting install is listed, then queued once, and its machine's job is shown."""
    asyncio.run(release(pipeline, 502))
    install = install_on(pipeline, 502, "gamma")
    finished = clanforge("image-install", "queue", install)
    assert finished.status == 0
    assert finished.out.startswith(f"install {install}  queued: machine job ")
    assert [request.route.value for request in pipeline.requests][-2:] == ["image-install list", "image-install queue"]


def test_a_mirrored_install_is_queued_as_json(pipeline: Simulator, clanforge: Clanforge) -> None:
    """With --json a queued install is an object with the job of its mirror."""
    asyncio.run(release(pipeline, 501))
    install = install_on(pipeline, 501, "mirror-501-1")
    [record] = clanforge("image-install", "queue", install, "--json").records
    assert (record["event"], record["install_id"]) == ("queued", int(install))
    assert isinstance(record["mirror_id"], int)
    assert record["machine_job_id"] is None


def test_older_installs_of_the_machine_are_squashed(pipeline: Simulator, clanforge: Clanforge) -> None:
    """Queueing a newer version's install shows how many older ones on its machine it has replaced."""
    for build in ("build 1", "build 2"):
        asyncio.run(release(pipeline, 502, build))
    finished = clanforge("image-install", "queue", install_on(pipeline, 502, "gamma"))
    assert finished.out.endswith(", 1 older squashed\n")


@pytest.mark.usefixtures("pipeline")
def test_an_unknown_install_is_status_6(clanforge: Clanforge) -> None:
    """An id that is not among the incomplete installs is refused, and nothing is queued."""
    finished = clanforge("image-install", "queue", "5")
    assert (finished.status, finished.out) == (6, "")
    assert finished.err == "error: no incomplete install has the ID 5; see `clanforge image-install list`\n"


def test_a_lost_queueing_is_decided_by_the_list(pipeline: Simulator, clanforge: Clanforge) -> None:
    """If the response is lost, an install that has begun is reported as queued; otherwise the outcome is unknown."""
    asyncio.run(release(pipeline, 502))
    install = install_on(pipeline, 502, "gamma")
    pipeline.faults.add(GatewayError(502), route="image-install queue", times=1)
    assert clanforge("image-install", "queue", install).status == 7
    pipeline.faults.add(Drop(after_acting=True), route="image-install queue", times=1)
    finished = clanforge("image-install", "queue", install)
    assert finished.status == 0
    line = f"install {install}  queued: the response was lost, but the list shows that it has begun or ended"
    assert finished.lines == [line]
    assert pipeline.requests.count("image-install queue") == 2


def test_an_interrupted_queueing_may_have_happened(pipeline: Simulator, clanforge: Clanforge) -> None:
    """Ctrl-C during the call warns that the install may have been queued."""
    asyncio.run(release(pipeline, 502))
    interrupt = CallAndHang(lambda: os.kill(os.getpid(), signal.SIGINT))
    pipeline.faults.add(interrupt, route="image-install queue")
    finished = clanforge("image-install", "queue", install_on(pipeline, 502, "gamma"))
    assert finished.status == 130
    assert "the queueing may or may not have happened: see `clanforge image-install list` before" in finished.err
