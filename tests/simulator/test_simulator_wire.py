from __future__ import annotations

import random
from typing import Any

import attrs
import pytest
from support.simulator.calling import FakeClock, job

from clanforge_async import JobKind, JobState, job_from_dict
from clanforge_async.simulator import Listing, Quirks, Simulator

PATHS = {JobKind.IMAGE_DIFF: "imagediff/1/status", JobKind.IMAGE_VERSION: "imageversion/1/status"}


async def written(kind: JobKind = JobKind.IMAGE_VERSION, seconds: float = 100, **quirks: Any) -> dict[str, Any]:
    clock = FakeClock()
    simulator = Simulator(clock=clock)
    if kind is JobKind.IMAGE_DIFF:
        simulator.add_image_diff(1, duration=10, quirks=Quirks(**quirks))
    else:
        simulator.add_image_version(1, duration=10, quirks=Quirks(**quirks))
    clock.advance(seconds)
    return await job(simulator, PATHS[kind])


async def test_a_state_may_be_told_by_its_name_alone() -> None:
    """With ``names_only`` the state's number is null."""
    body = await written(names_only=True)
    assert (body["jobstateid"], body["jobstatename"]) == (None, "Completed")


@pytest.mark.parametrize(("seconds", "name"), [(5, "Running"), (100, "Complete")])
async def test_completed_has_two_names(seconds: float, name: str) -> None:
    """With ``short_names`` the completed state is called Complete; others keep their name."""
    assert (await written(seconds=seconds, short_names=True))["jobstatename"] == name


async def test_nulls_may_be_left_out() -> None:
    """With ``omits_nulls`` a job has no field that says nothing, not even its state's number."""
    body = await written(omits_nulls=True, names_only=True)
    assert None not in body.values()
    assert not {"jobstateid", "joberror"} & set(body)


async def test_numbers_and_text_may_be_swapped() -> None:
    """With ``swaps_types`` numbers are text and ``jobstart`` is a number; what is neither stays."""
    body = await written(swaps_types=True)
    assert (body["jobprogress"], body["imageversionid"], body["jobstateid"]) == ("100", "1", "5")
    assert isinstance(body["jobstart"], int)
    assert (body["success"], body["jobstatename"], body["joberror"]) == (True, "Completed", None)


async def test_there_may_be_fields_that_no_page_documents() -> None:
    """With ``adds_fields`` an answer holds more than a client knows of."""
    assert set(await written(adds_fields=True)) - set(await written()) == {"jobnode", "jobtags"}


@pytest.mark.parametrize("kind", JobKind)
@pytest.mark.parametrize("seconds", [0, 5, 100])
async def test_habits_never_change_what_a_job_is(kind: JobKind, seconds: float) -> None:
    """However a job is written, the SDK's codec reads the same job."""
    plain = job_from_dict(kind, await written(kind, seconds))
    for seed in range(20):
        quirks = Quirks.random(random.Random(seed))
        read = job_from_dict(kind, await written(kind, seconds, **attrs.asdict(quirks)))
        assert (read.state, read.progress, read.updated_at) == (plain.state, plain.progress, plain.updated_at)
        assert (read.started_at, read.eta, read.error) == (plain.started_at, plain.eta, plain.error)


async def test_quirks_give_each_job_habits_of_its_own() -> None:
    """With ``quirks`` jobs are written in different ways, the same in every simulator of one seed."""

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


async def test_a_completed_diff_lists_what_it_found() -> None:
    """Added, modified and removed files are listed at the end, and not before."""
    clock = FakeClock()
    simulator = Simulator(clock=clock)
    found = Listing(added={"bin/server": {"size": 1}}, removed={"old.cfg": {}})
    simulator.add_image_diff(1, duration=10, listing=found)
    simulator.add_image_diff(2, duration=10)
    clock.advance(5)
    assert not {"added", "modified", "removed"} & set(await job(simulator, "imagediff/1/status"))
    clock.advance(5)
    body = await job(simulator, "imagediff/1/status")
    assert (body["added"], body["removed"]) == ({"bin/server": {"size": 1}}, {"old.cfg": {}})
    drawn = await job(simulator, "imagediff/2/status")
    assert {"added", "modified", "removed"} & set(drawn)
