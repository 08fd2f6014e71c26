from __future__ import annotations

import json
import time

import pytest
from support.simulator.pipeline import SimulatedPipeline

from clanforge_async.simulator import Simulator

FILES = {"bin/server": "1"}


@pytest.mark.parametrize(
    ("added", "sent"),
    [
        ("s3://bucket/folder", "s3://key:se%2Fcret@bucket/folder/"),
        ("s3://key:secret@bucket/folder/", "s3://other:keys@bucket/folder"),
        ("s3://***:***@bucket/folder/?region=eu&handlers=5", "s3://k:s@bucket/folder/?handlers=5&region=eu"),
        ("steam://install/480", "steam://user:pass@install/480/?guardcode=ABC&betapassword=x"),
        ("steam://install/480?beta=staging", "steam://anonymous:@install/480/?beta=staging&betapassword=x"),
        ("gs://bucket/folder", "gs://bucket/folder?credentials=%7B%22key%22%3A%20%22x%22%7D"),
        ("cos://bucket/folder", "cos://bucket/folder"),
    ],
)
def test_a_build_is_found_by_its_source_without_secrets(added: str, sent: str) -> None:
    """A build is found by its source, whatever the secrets, the final slash and the order of options."""
    builds = Simulator().builds
    builds[added, "build 2"] = FILES
    assert builds[sent, "build 2"] == FILES
    assert builds[sent, '"build 2"'] != FILES


def test_other_options_are_another_source() -> None:
    """Options that are not secret distinguish sources."""
    builds = Simulator().builds
    builds["steam://install/480/?beta=staging", "build 2"] = FILES
    assert builds["steam://install/480/?beta=live", "build 2"] != FILES
    assert builds["steam://install/480/", "build 2"] != FILES


def test_builds_are_a_mapping() -> None:
    """The builds that were added can be listed without secrets, counted and removed; an empty one counts too."""
    builds = Simulator().builds
    builds["s3://key:secret@bucket/folder/", "build 2"] = {}
    assert list(builds) == [("s3://bucket/folder", "build 2")]
    assert builds["s3://bucket/folder", "build 2"] == {}
    del builds["s3://bucket/folder/", "build 2"]
    assert len(builds) == 0
    assert builds["s3://bucket/folder", "build 2"] != {}


def test_a_build_that_was_not_added_is_drawn_from_the_seed() -> None:
    """The same source and description always give the same files; another description changes some of them."""
    builds, again, other_seed = Simulator().builds, Simulator().builds, Simulator(seed=1).builds
    first, second = builds["s3://bucket/a", "1"], builds["s3://bucket/a", "2"]
    assert first == again["s3://bucket/a", "1"] != other_seed["s3://bucket/a", "1"]
    assert first.keys() == second.keys()
    assert {path for path in first if first[path] != second[path]} == {"bin/server", "version.txt"}
    assert first["bin/server"].keys() == {"size", "hash"}


async def test_a_listing_of_200_000_files_is_served() -> None:
    """A diff of 200,000 files is compared and written within seconds."""
    pipeline = SimulatedPipeline()
    files = {f"maps/level-{number}.pak": {"size": number} for number in range(200_000)}
    pipeline.simulator.add_build_machine(79, files={501: files})
    diff = pipeline.finish(await pipeline.diff(machine=79))
    before = time.process_time()
    response = await pipeline.get(f"imagediff/{diff.id}/status")
    assert time.process_time() - before < 5
    assert json.loads(response.content)["added"] == files
