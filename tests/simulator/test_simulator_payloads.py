from __future__ import annotations

import random
from typing import Any

import attrs
import pytest
from support.simulator.calling import FakeClock, job

from clanforge_async import JobKind, JobState, job_from_dict
from clanforge_async.simulator import Listing, Quirks, Simulator

PATHS = {
    JobKind.IMAGE_UPDATE: "imageupdate/1/status",
    JobKind.IMAGE_DIFF: "imagediff/1/status",
    JobKind.IMAGE_VERSION: "imageversion/1/status",
}


async def payload(kind: JobKind = JobKind.IMAGE_VERSION, seconds: float = 100, **quirks: Any) -> dict[str, Any]:
    clock = FakeClock()
    simulator = Simulator(clock=clock)
    add = {
        JobKind.IMAGE_UPDATE: simulator.add_image_update,
        JobKind.IMAGE_DIFF: simulator.add_image_diff,
        JobKind.IMAGE_VERSION: simulator.add_image_version,
    }
    add[kind](1, duration=10, quirks=Quirks(**quirks))
    clock.advance(seconds)
    return await job(simulator, PATHS[kind])


async def test_names_only_omits_the_state_number() -> None:
    """With ``names_only`` the state's number is null."""
    body = await payload(names_only=True)
    assert (body["jobstateid"], body["jobstatename"]) == (None, "Completed")


@pytest.mark.parametrize(("seconds", "name"), [(5, "Running"), (100, "Complete")])
async def test_short_names_change_completed(seconds: float, name: str) -> None:
    """With ``short_names``, the completed state is named Complete; other names are unchanged."""
    assert (await payload(seconds=seconds, short_names=True))["jobstatename"] == name


async def test_omits_nulls_removes_null_fields() -> None:
    """With ``omits_nulls`` a job has no null field, not even its state's number."""
    body = await payload(omits_nulls=True, names_only=True)
    assert None not in body.values()
    assert not {"jobstateid", "joberror"} & set(body)


async def test_swaps_types_of_numbers_and_text() -> None:
    """With ``swaps_types``, numbers are text and ``jobstart`` is a number; other values are unchanged."""
    body = await payload(swaps_types=True)
    assert (body["jobprogress"], body["imageversionid"], body["jobstateid"]) == ("100", "1", "5")
    assert isinstance(body["jobstart"], int)
    assert (body["success"], body["jobstatename"], body["joberror"]) == (True, "Completed", None)


async def test_adds_fields_adds_unknown_fields() -> None:
    """With ``adds_fields`` a response has undocumented fields."""
    assert set(await payload(adds_fields=True)) - set(await payload()) == {"jobnode", "jobtags"}


@pytest.mark.parametrize("kind", JobKind)
async def test_omits_success_removes_success(kind: JobKind) -> None:
    """With ``omits_success`` no job has ``success``; without, each has."""
    assert "success" not in await payload(kind, omits_success=True)
    assert (await payload(kind))["success"] is True


@pytest.mark.parametrize("kind", JobKind)
@pytest.mark.parametrize("seconds", [0, 5, 100])
async def test_quirks_do_not_change_the_parsed_job(kind: JobKind, seconds: float) -> None:
    """The SDK's codec parses the same job with any quirks."""
    plain = job_from_dict(kind, await payload(kind, seconds))
    for seed in range(20):
        quirks = Quirks.random(random.Random(seed))
        body = {"updateid": 1} | await payload(kind, seconds, **attrs.asdict(quirks))
        read = job_from_dict(kind, body)
        assert (read.state, read.progress, read.updated_at) == (plain.state, plain.progress, plain.updated_at)
        assert (read.started_at, read.eta, read.error) == (plain.started_at, plain.eta, plain.error)


async def test_quirks_are_drawn_for_each_job() -> None:
    """With ``quirks``, the JSON of jobs varies, but is the same for the same seed."""

    async def bodies(seed: int) -> list[dict[str, Any]]:
        clock = FakeClock()
        simulator = Simulator(clock=clock, seed=seed, quirks=True)
        for number in range(1, 21):
            simulator.add_image_version(number, duration=1)
        clock.advance(2)
        return [await job(simulator, f"imageversion/{number}/status") for number in range(1, 21)]

    first = await bodies(0)
    assert {type(body["jobprogress"]) for body in first} == {int, str}
    assert {body["jobstatename"] for body in first} == {"Completed", "Complete"}
    assert all(job_from_dict(JobKind.IMAGE_VERSION, body).state is JobState.COMPLETED for body in first)
    assert await bodies(0) == first
    assert await bodies(1) != first


async def test_only_a_completed_diff_lists_files() -> None:
    """A diff lists added, modified and removed files once completed."""
    clock = FakeClock()
    simulator = Simulator(clock=clock)
    listing = Listing(added={"bin/server": {"size": 1}}, removed={"old.cfg": {}})
    simulator.add_image_diff(1, duration=10, listing=listing)
    simulator.add_image_diff(2, duration=10)
    clock.advance(5)
    assert not {"added", "modified", "removed"} & set(await job(simulator, "imagediff/1/status"))
    clock.advance(5)
    body = await job(simulator, "imagediff/1/status")
    assert (body["added"], body["removed"]) == ({"bin/server": {"size": 1}}, {"old.cfg": {}})
    random_listing = await job(simulator, "imagediff/2/status")
    assert {"added", "modified", "removed"} & set(random_listing)
