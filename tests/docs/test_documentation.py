"""What the documentation shows works as it stands."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import sys
import tomllib

import pytest
from support.documents import GUIDES, ROOT, Document

from clanforge_async.simulator import DEMO_ACCOUNT, Simulator, serve

README = Document("README.md")
COST = Document("docs/cost.md")
PROGRAMS = [example.code for document in (README, *GUIDES) for example in document.examples if example.is_program]
PRODUCT = [command for command in README.commands if command.startswith("clanforge ")]
INSTALLATION = "pip install 'clanforge-async[cli]'"
FRESH = [command for command in README.commands if command.startswith("python3 -m venv ")]


async def run_against_the_simulator(*command: str) -> tuple[int | None, str]:
    """Run a program whose environment names a served simulator with the jobs that the documentation names."""
    simulator = Simulator(speed=1000)
    simulator.add_image_diff(5678, duration=0.001, outcome="failed")
    for version in (9002, 9012):
        simulator.add_image_version(version, duration=100)
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
    assert {language for language, _ in README.blocks} == {"python", "sh"}
    assert sorted([INSTALLATION, *PRODUCT, *FRESH]) == sorted(README.commands)
    assert len(README.examples) == 1
    assert len(PRODUCT) == 1


@pytest.mark.parametrize("code", PROGRAMS, ids=range(len(PROGRAMS)))
async def test_a_program_runs(code: str) -> None:
    """A user who pastes a program of the documentation into a file sees it run."""
    status, output = await run_against_the_simulator(sys.executable, "-W", "error", "-c", code)
    assert status == 0, output


async def test_the_readmes_example_says_how_each_job_ended() -> None:
    """The example retries the diff and prints a line for each job."""
    _, output = await run_against_the_simulator(sys.executable, "-c", PROGRAMS[0])
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
        (block,) = re.findall(rf"^## {heading}\n\n```sh\n(.*?)\n```$", README.text, re.DOTALL | re.MULTILINE)
        assert block in FRESH
        assert block.endswith(f"&& {last}")
        assert f"readme '{heading}'" in (ROOT / ".ci" / "run").read_text()


def test_the_figures_are_those_that_were_measured() -> None:
    """What is said of requests and delays is what the benchmark's file says, on the machine that is named."""
    figures = json.loads((ROOT / "docs" / "bench" / "figures.json").read_text())
    assert figures["quick"] is False
    delays = figures["detection_delay"]
    measured = [*delays["fixed"], delays["exponential"], *delays["settings"]]
    rows = {(f"{row['requests']:.1f}", f"{row['delay']:.1f} s", f"{row['delay_p95']:.1f} s") for row in measured}
    stated = re.findall(r"^\| (?!polling|---).* \| (.*) \| (.*) \| (.*) \|$", COST.text, re.MULTILINE)
    assert len(stated) == 5
    assert set(stated) <= rows
    machine = figures["machine"]
    assert f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, {machine['python']}" in COST.text
    for document in (README, COST):
        assert f"{figures['scale']['bytes_per_watch'] / 1024:.1f} KiB" in document.text


def test_the_readmes_figures_are_those_of_the_table() -> None:
    """The README rounds two rows of the table: the fixed interval that is usual, and the watcher's own strategy."""
    told = re.findall(r"([0-9]+)(?: requests for a job)? and (?:notice its end|is) ([0-9.]+ s) late", README.text)
    rows = re.findall(r"^\| (?:every 5 s|`until_eta\(\)`) \| ([0-9.]+) \| (.*?) \|", COST.text, re.MULTILINE)
    assert told == [(f"{float(requests):.0f}", delay) for requests, delay in rows]


@pytest.mark.parametrize("document", [README, COST], ids=["README", "cost"])
def test_the_pictures_exist(document: Document) -> None:
    """Every picture that is shown is there."""
    pictures = re.findall(r"^!\[.+\]\((.+)\)$", document.text, re.MULTILINE)
    assert pictures
    folder = (ROOT / document.path).parent
    assert all((folder / picture).read_text().rstrip().endswith("</svg>") for picture in pictures)


def test_the_changelog_knows_this_version() -> None:
    """The version that is about to be released, or was, has its section, with a date."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## \[{re.escape(version)}\] - [0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}$", changelog, re.MULTILINE)
