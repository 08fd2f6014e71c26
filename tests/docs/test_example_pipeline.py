"""The pipeline gate passes if all jobs have completed, and the example pipelines run."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # its types are a package of their own
from support.cli.harness import Finished
from support.examples.example_process import EXAMPLES, credentials, environment, run

from clanforge_async.simulator import Envelope, Simulator, serve

PIPELINE = EXAMPLES / "pipeline"
PROGRAMS = {
    "clanforge": f'exec "{sys.executable}" -m clanforge_async "$@"',
    "python": f'exec "{sys.executable}" "$@"',
    "pip": 'test "$*" = "install ${CLANFORGE_INSTALL:-clanforge-async[cli]}"',
}


@pytest.fixture
async def simulator() -> Simulator:
    simulator = Simulator(speed=1000)
    simulator.add_image_diff(5678, duration=0, outcome="failed", error="disk full")
    simulator.add_image_version(9012, duration=0)
    simulator.add_image_version(9013, duration=3_600_000)
    return simulator


@pytest.fixture
async def env(simulator: Simulator, tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """Serve the simulator, in an environment with the gate in ``ci`` and the runner's programs on the path."""
    (tmp_path / "bin").mkdir()
    for name, line in PROGRAMS.items():
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\n{line}\n", "utf-8")
        program.chmod(0o755)
    (tmp_path / "ci").mkdir()
    shutil.copy(PIPELINE / "gate.sh", tmp_path / "ci")
    async with serve(simulator) as base_url:
        yield environment(CLANFORGE_BASE_URL=base_url, PATH=f"{tmp_path / 'bin'}:/usr/bin:/bin", DIFF_ID="5678")


async def run_gate(*refs: str, env: dict[str, str], checkout: Path, **more: str) -> tuple[int, str]:
    """Return the gate's exit status and its last message."""
    finished = await run(PIPELINE / "gate.sh", *refs, env=env | more, cwd=checkout)
    messages = re.findall("^gate: (.*)", finished.err + finished.out, re.MULTILINE)
    return finished.status, messages[-1]


async def test_a_failed_job_stops_the_pipeline(env: dict[str, str], tmp_path: Path) -> None:
    """One failed job stops the pipeline, although another has completed."""
    assert await run_gate("image-version/9012", "image-diff/5678", env=env, checkout=tmp_path) == (
        1,
        "a job has failed, see above; nothing is rolled out",
    )


async def test_a_timeout_has_its_own_status(env: dict[str, str], tmp_path: Path) -> None:
    """A timeout has its own status and message, with how to continue."""
    status, message = await run_gate("image-version/9013", env=env, checkout=tmp_path, GATE_TIMEOUT="0.3")
    assert (status, message.partition(";")[0]) == (3, "not done in time")


async def test_a_failure_of_the_api_is_tried_once_more(env: dict[str, str], tmp_path: Path) -> None:
    """A watch that ends with status 5 is started once more."""
    program = tmp_path / "bin" / "clanforge"
    first = f"if mkdir '{tmp_path}/tried'; then exit 5; fi"
    program.write_text(f"#!/bin/sh\n{first} 2>/dev/null\n{PROGRAMS['clanforge']}\n", "utf-8")
    assert await run_gate("image-version/9012", env=env, checkout=tmp_path) == (0, "all jobs have completed")
    assert (tmp_path / "tried").exists()


async def test_a_refusal_is_not_tried_again(simulator: Simulator, env: dict[str, str], tmp_path: Path) -> None:
    """If the API refuses a request permanently, the pipeline stops at once."""
    simulator.faults.add(Envelope("gone", status=404), id=9012, times=1)
    status, said = await run_gate("image-version/9012", env=env, checkout=tmp_path)
    assert (status, said.partition(",")[0]) == (6, "the API refused the request")


async def run_shell(lines: str, env: Mapping[str, str], checkout: Path) -> None:
    """Run a job's script in a POSIX shell, and assert that it succeeds."""
    finished: Finished = await run("sh", "-e", "-c", lines, env=dict(env), cwd=checkout)
    assert finished.status == 0, finished.out + finished.err


def evaluate_expressions(text: str, values: Mapping[str, str]) -> str:
    """Evaluate GitHub's expressions in a text."""
    return re.sub(r"\$\{\{ (.*?) \}\}", lambda match: values[match[1]], text)


async def test_the_github_workflow_runs(simulator: Simulator, env: dict[str, str], tmp_path: Path) -> None:
    """The workflow retries the diff, passes its reference to the gate, and passes once the new run completes."""
    workflow: Any = yaml.safe_load((PIPELINE / "github-actions.yml").read_text("utf-8"))
    values = {f"{kind}.{name}": value for name, value in credentials().items() for kind in ("secrets", "vars")}
    values["inputs.diff_id"] = env["DIFF_ID"]
    output = tmp_path / "output"
    bare = {name: value for name, value in env.items() if name not in {*credentials(), "DIFF_ID"}}
    for name, job in workflow["jobs"].items():
        for step in job["steps"]:
            if "run" in step:
                assert "${{" not in step["run"]  # an expression would be run as part of the script
                given = {key: evaluate_expressions(value, values) for key, value in step.get("env", {}).items()}
                await run_shell(step["run"], bare | given | {"GITHUB_OUTPUT": str(output)}, tmp_path)
        for key, value in job.get("outputs", {}).items():
            values |= {f"steps.{name}.outputs.{key}": output.read_text("utf-8").strip().removeprefix(f"{key}=")}
            values[f"needs.{name}.outputs.{key}"] = evaluate_expressions(value, values)
    assert re.fullmatch(r"image-diff/5678@\d+", values["needs.retry.outputs.ref"])
    assert simulator.retries_of(5678) == 1


async def test_the_gitlab_pipeline_runs(simulator: Simulator, env: dict[str, str], tmp_path: Path) -> None:
    """The GitLab pipeline does the same."""
    pipeline: Any = yaml.safe_load((PIPELINE / "gitlab-ci.yml").read_text("utf-8"))
    before = pipeline["default"]["before_script"]
    variables = dict(env) | pipeline["variables"]
    for stage in pipeline["stages"]:
        [job] = [job for job in pipeline.values() if isinstance(job, dict) and job.get("stage") == stage]
        await run_shell("\n".join([*before, *job["script"]]), variables | job.get("variables", {}), tmp_path)
        if "artifacts" in job:
            reports, paths = (job["artifacts"].get(kind, {}) for kind in ("reports", "paths"))
            assert all((tmp_path / path).exists() for path in [*reports.values(), *paths])
            dotenv = (tmp_path / reports["dotenv"]).read_text("utf-8") if "dotenv" in reports else ""
            variables |= dict(line.split("=", 1) for line in dotenv.splitlines())
    assert re.fullmatch(r"image-diff/5678@\d+", variables["REF"])
    assert simulator.retries_of(5678) == 1


VENV = """
mkdir -p "$3/bin"
printf '#!/bin/sh\ntest "$*" = "-m pip install --disable-pip-version-check $WANTED"\n' > "$3/bin/python"
printf '#!/bin/sh\nexec "%s" -m clanforge_async "$@"\n' "$INTERPRETER" > "$3/bin/clanforge"
chmod +x "$3/bin/python" "$3/bin/clanforge"
"""
"""Replacement for ``python -m venv FOLDER``: its pip expects the package that the input names."""


async def run_action(env: dict[str, str], tmp_path: Path, **inputs: str) -> list[int]:
    """Run the action's steps, check its output, and return their exit statuses."""
    action: Any = yaml.safe_load((EXAMPLES.parent / "action.yml").read_text("utf-8"))
    (tmp_path / "bin" / "clanforge").unlink()
    (tmp_path / "bin" / "python").write_text(f"#!/bin/sh\n{VENV}", "utf-8")
    given = {name: field.get("default", "") for name, field in action["inputs"].items()}
    assert inputs.keys() <= given.keys()
    given |= inputs
    values = {f"inputs.{name}": value for name, value in given.items()}
    runner = {
        "RUNNER_TEMP": str(tmp_path / "temp"),
        "GITHUB_ACTION_PATH": str(EXAMPLES.parent),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "WANTED": given["install"],
        "INTERPRETER": sys.executable,
    }
    statuses: list[int] = []
    for step in action["runs"]["steps"]:
        assert "${{" not in step["run"]  # an expression would be run as part of the script
        given_env = {key: evaluate_expressions(value, values) for key, value in step["env"].items()}
        shell = ("bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c")
        finished = await run(*shell, step["run"], env=env | runner | given_env, cwd=tmp_path)
        statuses.append(finished.status)
    assert (tmp_path / "output").read_text("utf-8") == f"status={statuses[-1]}\n"
    return statuses


@pytest.mark.parametrize(
    ("install", "refs", "status"),
    [
        ("clanforge-async[cli]==0.1.0", "image-version/9012", 0),
        ("./dist/clanforge_async-0.1.0-py3-none-any.whl[cli]", "image-version/9012\nimage-diff/5678", 1),
        ("./checkout[cli]", "image-version/9012", 0),
    ],
)
async def test_the_action_waits_for_jobs(
    env: dict[str, str], tmp_path: Path, install: str, refs: str, status: int
) -> None:
    """The action installs what its input names, waits for its jobs, and has the exit status as its output."""
    assert await run_action(env, tmp_path, refs=refs, install=install) == [0, status]
    assert (tmp_path / "image-jobs.html").exists()
    assert (tmp_path / "image-jobs.xml").exists()


async def test_the_action_releases_images(simulator: Simulator, env: dict[str, str], tmp_path: Path) -> None:
    """With ``release`` the action passes each option and its value, with spaces and patterns, and releases."""
    simulator.add_build_machine(77)
    for image_id in (501, 502):
        simulator.add_image(image_id, game_id=12, files={"server": "1"}, update_url="s3://key:secret@bucket/builds/")
    simulator.builds["s3://bucket/builds/", "build *  1.4.2"] = {"server": "2"}
    release = "--image 501 502\n--machine 77\n\n  --desc build *  1.4.2\n--wait-for version\n--yes\n"
    assert await run_action(env, tmp_path, release=release) == [0, 0]
    assert [simulator.image(image_id).files for image_id in (501, 502)] == [{"server": "2"}] * 2
    assert "2 images: 2 released" in (tmp_path / "image-jobs.html").read_text("utf-8")
    assert 'name="image 501"' in (tmp_path / "image-jobs.xml").read_text("utf-8")


@pytest.mark.parametrize("inputs", [{}, {"refs": "image-version/9012", "release": "--image 501"}])
async def test_the_action_needs_one_of_its_inputs(env: dict[str, str], tmp_path: Path, inputs: dict[str, str]) -> None:
    """Neither of ``refs`` and ``release``, or both, is wrong usage."""
    assert await run_action(env, tmp_path, **inputs) == [0, 2]
