"""The example pipelines of a release run against the simulator."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # its types are a package of their own
from support.examples.example_process import EXAMPLES, credentials, environment, run

from clanforge_async.simulator import Simulator, serve

PIPELINE = EXAMPLES / "pipeline"
PROGRAMS = {
    "clanforge": f'exec "{sys.executable}" -m clanforge_async "$@"',
    "pip": 'test "$*" = "install clanforge-async[cli]"',
}
BUILD = {"bin/server": "2"}
SECRETS = {"CLANFORGE_SOURCE_KEY": "key", "CLANFORGE_SOURCE_SECRET": "secret", "BUILD": "1.4.2"}


@pytest.fixture
async def simulator() -> Simulator:
    simulator = Simulator(speed=1000)
    simulator.add_image(501, game_id=12, files={"bin/server": "1"}, machines=1)
    simulator.add_build_machine(77)
    simulator.script("install", "created,running:6000,completed")  # long enough to be seen
    simulator.builds["s3://ashfall-builds/1.4.2/", "1.4.2"] = BUILD
    return simulator


@pytest.fixture
async def env(simulator: Simulator, tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """Serve the simulator, in an environment with the runner's programs on the path."""
    (tmp_path / "bin").mkdir()
    for name, line in PROGRAMS.items():
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\n{line}\n", "utf-8")
        program.chmod(0o755)
    async with serve(simulator) as base_url:
        yield environment(CLANFORGE_BASE_URL=base_url, PATH=f"{tmp_path / 'bin'}:/usr/bin:/bin")


def github_scripts() -> Iterator[str]:
    """Yield the scripts of the workflow's steps; the environment has what their expressions name."""
    workflow: Any = yaml.safe_load((PIPELINE / "release-github-actions.yml").read_text("utf-8"))
    given = set(re.findall(r"(?:secrets|vars|inputs)\.(\w+)", str(workflow["env"])))
    assert given == {*credentials(), "build", *SECRETS} - {"BUILD"}
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            if "run" in step:
                assert "${{" not in step["run"]  # an expression would be run as part of the script
                yield step["run"]


def gitlab_scripts() -> Iterator[str]:
    """Yield the scripts of the pipeline's jobs."""
    pipeline: Any = yaml.safe_load((PIPELINE / "release-gitlab-ci.yml").read_text("utf-8"))
    for stage in pipeline["stages"]:
        [job] = [job for job in pipeline.values() if isinstance(job, dict) and job.get("stage") == stage]
        yield "\n".join([*pipeline["default"]["before_script"], *job["script"]])


@pytest.mark.parametrize("scripts", [github_scripts, gitlab_scripts])
async def test_a_pipeline_releases_the_build(
    scripts: Any, simulator: Simulator, env: dict[str, str], tmp_path: Path
) -> None:
    """The first job ends with the diff held, and the second, given its journal, with the machines running the build."""
    for script in scripts():
        finished = await run("sh", "-e", "-c", script, env=env | SECRETS, cwd=tmp_path)
        assert finished.status == 0, finished.out + finished.err
        assert "secret" not in finished.out + finished.err
    image = simulator.image(501)
    assert image.files == BUILD
    assert set(image.machines.values()) == {image.version}
    assert simulator.requests.count("image-diff create") == 1
