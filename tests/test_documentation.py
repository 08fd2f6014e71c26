"""What the documentation shows works as it stands."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest

from clanforge_async.simulator import DEMO_ACCOUNT, Simulator, serve

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
PYTHON = [code for language, code in BLOCKS if language == "python"]
COMMANDS = [line for language, code in BLOCKS if language == "sh" for line in code.splitlines()]
PRODUCT = [command for command in COMMANDS if command.startswith("clanforge ")]
FRESH = [command for command in COMMANDS if command.startswith("python3 -m venv ")]
DOCUMENTED = [language for language, _ in BLOCKS]


async def run_against_the_simulator(*command: str) -> tuple[int | None, str]:
    """Run a program whose environment names a served simulator with a failed diff 5678 and an image version 9012."""
    simulator = Simulator(speed=1000)
    simulator.add_image_diff(5678, duration=0.001, outcome="failed")
    simulator.add_image_version(9012, duration=100)
    async with serve(simulator) as base_url:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CLANFORGE_")} | {
            "CLANFORGE_ACCESS_KEY": DEMO_ACCOUNT.access_key,
            "CLANFORGE_SECRET_KEY": DEMO_ACCOUNT.secret_key,
            "CLANFORGE_ACCOUNT_SERVICE_ID": str(DEMO_ACCOUNT.account_service_id),
            "CLANFORGE_BASE_URL": base_url,
        }
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            cwd=ROOT / "tests",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return process.returncode, output.decode()


def test_the_readme_is_accounted_for() -> None:
    """Every code block of the README belongs to one of the tests here."""
    assert set(DOCUMENTED) == {"python", "sh"}
    assert sorted(PRODUCT + FRESH) == sorted(COMMANDS)
    assert len(PYTHON) == 3
    assert len(PRODUCT) == 1


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
async def test_the_readmes_python_runs(code: str) -> None:
    """A user who pastes the README's Python into a file sees it run."""
    status, output = await run_against_the_simulator(sys.executable, "-W", "error", "-c", code)
    assert status == 0, output


async def test_the_readmes_first_example_says_how_each_job_ended() -> None:
    """The first example retries the diff and prints a line for each job."""
    _, output = await run_against_the_simulator(sys.executable, "-c", PYTHON[0])
    first, second = output.splitlines()
    assert re.fullmatch(r"image-diff/5678@[0-9]+ completed", first)
    assert second == "image-version/9012 completed"


async def test_the_readmes_pipeline_command_runs() -> None:
    """The command for pipelines ends with the status of the worst job: here one that has failed."""
    _, *arguments = shlex.split(PRODUCT[0])
    status, output = await run_against_the_simulator(sys.executable, "-m", "clanforge_async", *arguments)
    assert status == 1, output


def test_the_readmes_two_commands_stand_alone() -> None:
    """Under `Try it` and `Test it` there is one command each, made of what a fresh machine has; CI runs both."""
    for heading, last in (("Try it", ".venv/bin/clanforge demo"), ("Test it", ".venv/bin/nox -s tests")):
        (block,) = re.findall(rf"^## {heading}\n\n```sh\n(.*?)\n```$", README, re.DOTALL | re.MULTILINE)
        assert block in FRESH
        assert block.endswith(f"&& {last}")
        assert f"readme '{heading}'" in (ROOT / ".ci" / "run").read_text()


async def test_the_example_that_watches_many_runs() -> None:
    """`examples/watch_many.py` tells of each job and exits by their outcome."""
    script = str(ROOT / "examples" / "watch_many.py")
    status, output = await run_against_the_simulator(sys.executable, script, "image-version/9012")
    assert status == 0, output
    assert "image-version/9012 ended after" in output
    status, output = await run_against_the_simulator(sys.executable, script, "image-diff/5678")
    assert status == 1, output


async def test_the_example_that_retries_runs() -> None:
    """`examples/retry_and_wait.py` retries a diff and sees the new run complete."""
    script = str(ROOT / "examples" / "retry_and_wait.py")
    status, output = await run_against_the_simulator(sys.executable, script, "5678")
    assert status == 0, output
    assert "has completed" in output


def test_the_readmes_figures_are_those_that_were_measured() -> None:
    """What the README says of requests and delays is what the benchmark's file says, on the machine that it names."""
    figures = json.loads((ROOT / "docs" / "bench" / "figures.json").read_text())
    assert figures["quick"] is False
    notice = figures["notice"]
    measured = [*notice["fixed"], notice["exponential"], *notice["settings"]]
    rows = {(f"{row['requests']:.1f}", f"{row['delay']:.1f} s", f"{row['late_delay']:.1f} s") for row in measured}
    stated = re.findall(r"^\| (?!polling|---).* \| (.*) \| (.*) \| (.*) \|$", README, re.MULTILINE)
    assert len(stated) == 5
    assert set(stated) <= rows
    machine = figures["machine"]
    assert f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, {machine['python']}" in README
    assert f"{figures['scale']['bytes_per_watch'] / 1024:.1f} KiB" in README


def test_the_pictures_exist() -> None:
    """Every picture that the README shows is there."""
    pictures = re.findall(r"^!\[.+\]\((.+)\)$", README, re.MULTILINE)
    assert len(pictures) == 2
    assert all((ROOT / picture).read_text().startswith("<?xml") for picture in pictures)


def test_the_changelog_knows_this_version() -> None:
    """What is about to be released, or was, has its section."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in changelog or f"## [{version}]" in changelog
