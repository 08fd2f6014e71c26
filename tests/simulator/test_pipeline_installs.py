from __future__ import annotations

import json
import time
from typing import Any

import pytest
from support.simulator.pipeline import SimulatedPipeline

from clanforge_async import JobState
from clanforge_async.simulator import Policies, Run

MANUAL = Policies(omitted_install_at="manual")
MACHINES = {"machines": ["a", "b", "c"]}
QUICK = Run(states="running:20,completed")


def states(pipeline: SimulatedPipeline) -> list[str]:
    return [install.state.name for install in pipeline.simulator.image(501).installs]


async def test_a_completed_version_runs_nowhere_yet() -> None:
    """Until ``install_lag`` seconds after a version has completed, no install begins and the old counts remain."""
    pipeline = SimulatedPipeline(Policies(install_lag=30.0))
    version = await pipeline.released()
    assert (await pipeline.installs(), await pipeline.rollout()) == ([], (0, 0, 3))
    assert version.id not in pipeline.simulator.image(501).machines.values()
    pipeline.clock.advance(30)
    assert len(await pipeline.installs()) == 3
    assert await pipeline.rollout() == (3, 0, 0)


async def test_installs_run_machine_by_machine() -> None:
    """Each machine has its own install, and the rollout counts the completed ones."""
    pipeline = SimulatedPipeline(image=MACHINES)
    pipeline.simulator.script("install", *[f"running:{seconds},completed" for seconds in (20, 40, 60)])
    version = await pipeline.released()
    before = pipeline.simulator.image(501).installs
    for seconds, counts in ((10, (3, 0, 0)), (25, (2, 0, 1)), (25, (1, 0, 2)), (25, (0, 0, 3))):
        pipeline.clock.advance(seconds)
        assert await pipeline.rollout() == counts
        assert len(await pipeline.installs()) == counts[0]
        machines = pipeline.simulator.image(501).machines
        assert sum(running == version.id for running in machines.values()) == counts[2]
        assert machines.keys() == {"a", "b", "c"}
    assert before == ()
    assert states(pipeline) == ["COMPLETED"] * 3


def pairs_of(text: str) -> list[list[tuple[str, Any]]]:
    """Return the entries of a list of installs with all their keys, including duplicate ones."""
    body = json.loads(text, object_pairs_hook=lambda pairs: pairs)
    found: list[list[tuple[str, Any]]] = dict(body)["installs"]
    return found


@pytest.mark.parametrize("restart", [0, 1])
async def test_an_entry_has_a_key_twice(restart: int) -> None:
    """An entry of the list has the documented fields, ``restart`` twice, and no image id."""
    pipeline = SimulatedPipeline(image=MACHINES)
    version = await pipeline.released(restart=restart, install_at=int(pipeline.clock.now))
    pipeline.clock.advance(10)
    response = await pipeline.get("imageinstall/status")
    assert response.headers["content-type"] == "application/json"
    entry = pairs_of(response.text)[1]
    assert [value for name, value in entry if name == "restart"] == [restart, restart]
    fields = dict(entry)
    job_fields = {name: fields.pop(name) for name in list(fields) if name.startswith("job")}
    assert job_fields.keys() == {
        *("jobid", "jobcreated", "joberror", "jobeta", "jobfailed", "jobprogress"),
        *("jobstart", "jobstateid", "jobstatename", "jobupdated"),
    }
    assert fields == {
        "mirroring": False,
        "restart": restart,
        "location": "North America",
        "machine": "b",
        "mirror": None,
        "imagepath": "/games/12/501",
        "install_at": fields["install_at"],
        "target_imageversionid": version.id,
    }
    assert fields["install_at"] < pipeline.clock.now


async def test_installs_of_all_images_are_mixed() -> None:
    """The list has the incomplete installs of all images of the account, without naming the image."""
    pipeline = SimulatedPipeline()
    pipeline.simulator.script("install", "running")
    first, second = await pipeline.released(501), await pipeline.released(502)
    pipeline.clock.advance(100)
    assert {entry["target_imageversionid"] for entry in await pipeline.installs()} == {first.id}
    pipeline.clock.now = pipeline.simulator.ended_at(second) + 10
    assert (await pipeline.rollout(501))[0] == 1


async def test_installs_wait_for_their_time() -> None:
    """With a later ``install_at``, the installs are listed as pending until then."""
    pipeline = SimulatedPipeline()
    later = int(pipeline.clock.now) + 1000
    await pipeline.released(install_at=later)
    pipeline.clock.advance(100)
    assert states(pipeline) == ["PENDING"] * 3
    assert {entry["jobeta"] for entry in await pipeline.installs()} == {None}
    assert {entry["install_at"] for entry in await pipeline.installs()} == {later}
    pipeline.clock.now = later + 60
    assert states(pipeline) == ["COMPLETED"] * 3


async def test_without_a_restart_servers_have_to_exit() -> None:
    """With ``restart=1``, installs start at once; with ``restart=0``, some seconds later, when the servers exit."""
    for restart, state in ((1, "RUNNING"), (0, "QUEUED")):
        pipeline = SimulatedPipeline(image=MACHINES)
        pipeline.simulator.script("install", *[QUICK] * 3)
        await pipeline.released(restart=restart)
        pipeline.clock.advance(10 + 4.5)
        assert states(pipeline) == [state] * 3
        pipeline.clock.advance(60)
        assert await pipeline.rollout() == (0, 0, 3)


async def test_an_omitted_install_at_starts_at_once() -> None:
    """By default, installs start at once if ``install_at`` is omitted."""
    pipeline = SimulatedPipeline()
    await pipeline.released(install_at="")
    pipeline.clock.advance(100)
    assert await pipeline.rollout() == (0, 0, 3)


async def test_an_omitted_install_at_may_wait_for_the_queue() -> None:
    """If an omitted ``install_at`` means a manual install, each waits until it is queued."""
    pipeline = SimulatedPipeline(MANUAL, image=MACHINES)
    pipeline.simulator.script("install", QUICK)
    version = await pipeline.released(install_at="")
    pipeline.clock.advance(100_000)
    entries = await pipeline.installs()
    assert [(entry["jobstatename"], entry["install_at"]) for entry in entries] == [("Pending", None)] * 3
    body = await pipeline.ok(f"imageinstall/{entries[0]['jobid']}/queue", mirroring="false")
    assert body.pop("machinejobid") > entries[-1]["jobid"]
    assert (body.pop("installs_squashed"), body["jobstatename"]) == (0, "Running")
    assert not {"success", "jobid"} & body.keys()
    pipeline.clock.advance(20)
    assert pipeline.simulator.image(501).machines["a"] == version.id
    assert await pipeline.rollout() == (2, 0, 1)


async def test_queueing_replaces_older_installs_of_the_machine() -> None:
    """A queued install squashes the older incomplete ones on its machine, and counts them."""
    pipeline = SimulatedPipeline(MANUAL, image={"machines": ["a", "b"]})
    await pipeline.released(install_at="")
    pipeline.clock.advance(10)
    older = await pipeline.installs()
    newer_version = await pipeline.released(desc="no change", install_at="")
    pipeline.clock.advance(10)
    newer = [entry for entry in await pipeline.installs() if entry["target_imageversionid"] == newer_version.id]
    body = await pipeline.ok(f"imageinstall/{newer[0]['jobid']}/queue", mirroring="false")
    assert body["installs_squashed"] == 1
    listed = {entry["jobid"] for entry in await pipeline.installs()}
    assert listed == {older[1]["jobid"], newer[0]["jobid"], newer[1]["jobid"]}
    assert states(pipeline)[0] == "SQUASHED"
    pipeline.clock.advance(60)
    assert pipeline.simulator.image(501).machines["a"] == newer_version.id


async def test_a_newer_version_replaces_installs_that_still_run() -> None:
    """An install that starts squashes the older one on its machine, whose end then has no effect."""
    pipeline = SimulatedPipeline(image={"machines": ["a"]})
    pipeline.simulator.script("install", "running:5000,completed", QUICK)
    await pipeline.released()
    pipeline.clock.advance(10)
    newer = await pipeline.released(desc="no change")
    pipeline.clock.advance(6000)
    assert states(pipeline) == ["SQUASHED", "COMPLETED"]
    assert pipeline.simulator.image(501).machines == {"a": newer.id}


async def test_only_a_waiting_install_is_queued() -> None:
    """An unknown install is 404; one that is already queued, or has another value of ``mirroring``, is 400."""
    pipeline = SimulatedPipeline(MANUAL)
    assert await pipeline.refused("imageinstall/1/queue", mirroring="true") == (404, "not found")
    await pipeline.released(install_at="")
    pipeline.clock.advance(10)
    job_id = (await pipeline.installs())[0]["jobid"]
    path = f"imageinstall/{job_id}/queue"
    assert await pipeline.refused(path) == (400, "missing parameter: mirroring")
    assert await pipeline.refused(path, mirroring="1") == (400, "malformed parameter: mirroring")
    mismatch = f"install {job_id} has another value of mirroring"
    assert await pipeline.refused(path, mirroring="true") == (400, mismatch)
    await pipeline.ok(path, mirroring="false")
    pipeline.clock.advance(100)
    ended = f"install {job_id} is not waiting to be queued"
    assert await pipeline.refused(path, mirroring="false") == (400, ended)


async def test_a_queued_install_is_not_started_again() -> None:
    """An install that was queued before its time does not start a second time."""
    pipeline = SimulatedPipeline()
    later = int(pipeline.clock.now) + 1000
    await pipeline.released(install_at=later)
    pipeline.clock.advance(10)
    for entry in await pipeline.installs():
        await pipeline.ok(f"imageinstall/{entry['jobid']}/queue", mirroring="false")
    pipeline.clock.now = later + 1
    assert states(pipeline) == ["COMPLETED"] * 3


async def test_a_replaced_install_never_starts() -> None:
    """A waiting install that a newer one on its machine has replaced stays squashed."""
    pipeline = SimulatedPipeline(image={"machines": ["a"]})
    later = int(pipeline.clock.now) + 5000
    await pipeline.released(install_at=later)
    newer = await pipeline.released(desc="no change")
    pipeline.clock.now = later + 100
    assert states(pipeline) == ["SQUASHED", "COMPLETED"]
    assert pipeline.simulator.image(501).machines == {"a": newer.id}
    job_id = pipeline.simulator.image(501).installs[0].id
    message = f"install {job_id} is not waiting to be queued"
    assert await pipeline.refused(f"imageinstall/{job_id}/queue", mirroring="false") == (400, message)


async def test_an_image_can_run_on_a_thousand_machines() -> None:
    """The installs of an image on a thousand machines take no noticeable time."""
    pipeline = SimulatedPipeline(image={"machines": 1000})
    await pipeline.released()
    pipeline.clock.advance(10)
    before = time.process_time()
    assert len(await pipeline.installs()) == 1000
    pipeline.clock.advance(3000)
    assert await pipeline.rollout() == (0, 0, 1000)
    assert time.process_time() - before < 5


async def test_mirrors_have_their_own_installs() -> None:
    """An install to a mirror comes first, names it, returns a mirror job when queued, and counts as no machine."""
    pipeline = SimulatedPipeline(MANUAL, image={"machines": 1, "mirrors": 1})
    version = await pipeline.released(install_at="")
    pipeline.clock.advance(10)
    mirror, machine = await pipeline.installs()
    assert (mirror["mirroring"], mirror["mirror"], mirror["machine"]) == (True, "mirror-501-1", None)
    assert (machine["mirroring"], machine["mirror"], machine["machine"]) == (False, None, "501-1")
    body = await pipeline.ok(f"imageinstall/{mirror['jobid']}/queue", mirroring="true")
    assert body.pop("versionmirrorid") > machine["jobid"]
    assert "installs_squashed" not in body
    pipeline.clock.advance(60)
    assert await pipeline.rollout() == (1, 0, 0)
    assert [(install.machine, install.state) for install in pipeline.simulator.image(501).installs] == [
        ("mirror-501-1", JobState.COMPLETED),
        ("501-1", JobState.PENDING),
    ]
    assert version.id not in pipeline.simulator.image(501).machines.values()


async def test_a_failed_install_disables_its_machine() -> None:
    """A machine with a failed install counts as failed, even in later rollouts, and gets no further install."""
    pipeline = SimulatedPipeline(image=MACHINES)
    pipeline.simulator.script("install", QUICK, "running:5,failed")
    await pipeline.released()
    pipeline.clock.advance(100)
    assert await pipeline.rollout() == (0, 1, 2)
    assert pipeline.simulator.image(501).disabled == {"b"}
    await pipeline.released(desc="no change")
    pipeline.clock.advance(10)
    assert {entry["machine"] for entry in await pipeline.installs()} == {"a", "c"}
    assert await pipeline.rollout() == (2, 1, 0)


async def test_a_squashed_install_leaves_its_machine() -> None:
    """A machine whose install was squashed keeps its version, and is not disabled."""
    pipeline = SimulatedPipeline(image={"machines": ["a"]})
    pipeline.simulator.script("install", "running:5,squashed")
    version = await pipeline.released()
    pipeline.clock.advance(100)
    assert pipeline.simulator.image(501).machines["a"] != version.id
    assert await pipeline.rollout() == (1, 0, 0)


@pytest.mark.parametrize("mirrors", [0, 1])
async def test_an_install_fails_after_four_hours(mirrors: int) -> None:
    """An install that never ends fails after four hours, which disables its machine; a mirror is not a machine."""
    pipeline = SimulatedPipeline(image={"machines": 1 - mirrors, "mirrors": mirrors})
    pipeline.simulator.script("install", "running")
    await pipeline.released()
    pipeline.clock.advance(4 * 3600)
    assert states(pipeline) == ["RUNNING"]
    pipeline.clock.advance(20)
    assert states(pipeline) == ["FAILED"]
    assert await pipeline.rollout() == (0, 1 - mirrors, 0)


async def test_stragglers_are_disabled_once_enough_machines_are_done() -> None:
    """After ``disable_timeout`` minutes, unfinished machines are disabled once ``disable_percentage`` are done."""
    pipeline = SimulatedPipeline(image={"machines": 4})
    pipeline.simulator.script("install", QUICK, "running:900,completed", "running", "running")
    await pipeline.released(disable_timeout=10, disable_percentage="50.0")
    pipeline.clock.advance(10 + 660)
    assert await pipeline.rollout() == (3, 0, 1)
    pipeline.clock.advance(300)
    assert await pipeline.rollout() == (0, 2, 2)
    assert states(pipeline) == ["COMPLETED", "COMPLETED", "FAILED", "FAILED"]


async def test_stragglers_are_disabled_at_the_timeout() -> None:
    """If enough machines are done at the timeout, the others are disabled then."""
    pipeline = SimulatedPipeline(image={"machines": 2})
    pipeline.simulator.script("install", QUICK, "running")
    await pipeline.released(disable_timeout=1, disable_percentage="50")
    pipeline.clock.advance(10 + 55)
    assert await pipeline.rollout() == (1, 0, 1)
    pipeline.clock.advance(15)
    assert await pipeline.rollout() == (0, 1, 1)


async def test_an_image_without_machines_is_all_zeros() -> None:
    """The counts of an image without machines are 0, before and after a version."""
    pipeline = SimulatedPipeline(image={"machines": 0})
    await pipeline.released()
    pipeline.clock.advance(60)
    body = await pipeline.ok("/cfp/v2/project/1234/image/501/status", detail="true")
    assert body == {"pending_machines": 0, "failed_machines": 0, "completed_machines": 0, "fleets": {}}
    assert await pipeline.installs() == []


async def test_the_speed_divides_all_times_of_installs() -> None:
    """With ``speed=10``, the lag, the installs and their time limits are a tenth as long."""
    pipeline = SimulatedPipeline(speed=10)
    pipeline.simulator.script("install", "running:10,completed", "running", "running")
    await pipeline.released(disable_timeout=10, disable_percentage="10")
    pipeline.clock.advance(1.5)
    assert states(pipeline)[0] == "RUNNING"
    pipeline.clock.advance(0.5)
    assert states(pipeline)[0] == "COMPLETED"
    pipeline.clock.advance(59)
    assert states(pipeline) == ["COMPLETED", "FAILED", "FAILED"]
