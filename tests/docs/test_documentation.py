"""Code, commands, figures and images in the documentation are correct."""

from __future__ import annotations

import json
import re
import shlex
import sys
import tomllib

import pytest
from support.documents import GUIDES, ROOT, Document
from support.examples.example_process import environment, run

from clanforge_async.simulator import Simulator, serve

README = Document("README.md")
COST = Document("docs/cost.md")
PROGRAMS = [example.code for document in (README, *GUIDES) for example in document.examples if example.is_program]
CLANFORGE_COMMANDS = [command for command in README.commands if command.startswith("clanforge ")]
INSTALLATION = "pip install 'clanforge-async[cli]'"
SETUP_COMMANDS = [command for command in README.commands if command.startswith("python3 -m venv ")]


async def run_against_the_simulator(*command: str) -> tuple[int, str]:
    """Run a program against a served simulator with the jobs used in the documentation."""
    simulator = Simulator(speed=1000)
    simulator.add_image_diff(5678, duration=0.001, outcome="failed")
    for version in (9002, 9012):
        simulator.add_image_version(version, duration=100)
    async with serve(simulator) as base_url:
        finished = await run(*command, env=environment(CLANFORGE_BASE_URL=base_url), cwd=ROOT / "tests")
    return finished.status, finished.out + finished.err


def test_every_readme_block_is_tested() -> None:
    """Every code block of the README is covered by a test here."""
    assert {language for language, _ in README.blocks} == {"python", "sh"}
    assert sorted([INSTALLATION, *CLANFORGE_COMMANDS, *SETUP_COMMANDS]) == sorted(README.commands)
    assert len(README.examples) == 1
    assert len(CLANFORGE_COMMANDS) == 1


@pytest.mark.parametrize("code", PROGRAMS, ids=range(len(PROGRAMS)))
async def test_a_program_runs(code: str) -> None:
    """A program pasted from the documentation into a file runs."""
    status, output = await run_against_the_simulator(sys.executable, "-W", "error", "-c", code)
    assert status == 0, output


async def test_the_readme_example_prints_each_outcome() -> None:
    """The example retries the diff and prints one line per job."""
    _, output = await run_against_the_simulator(sys.executable, "-c", PROGRAMS[0])
    first, second = output.splitlines()
    assert re.fullmatch(r"image-diff/5678@[0-9]+ completed", first)
    assert second == "image-version/9012 completed"


async def test_the_readme_pipeline_command_runs() -> None:
    """The pipeline command exits with the status of the worst job: here, of a failed one."""
    _, *arguments = shlex.split(CLANFORGE_COMMANDS[0])
    status, output = await run_against_the_simulator(sys.executable, "-m", "clanforge_async", *arguments)
    assert status == 1, output


def test_the_readmes_two_commands_stand_alone() -> None:
    """`Try it` and `Test it` show one command each, which runs on a fresh machine; CI runs the same commands."""
    ci = (ROOT / ".ci" / "run").read_text().splitlines()
    for heading, last in (("Try it", ".venv/bin/clanforge demo"), ("Test it", ".venv/bin/nox -s tests")):
        (block,) = re.findall(rf"^## {heading}\n\n```sh\n(.*?)\n```$", README.text, re.DOTALL | re.MULTILINE)
        assert block in SETUP_COMMANDS
        assert block.endswith(f"&& {last}")
        assert f'run "{block}"' in ci


def test_documented_measurements_match_the_benchmark() -> None:
    """Figures of requests and delays match the benchmark's file, including the machine's name."""
    figures = json.loads((ROOT / "docs" / "bench" / "figures.json").read_text())
    assert figures["quick"] is False
    delays = figures["detection_delay"]
    measured = [*delays["fixed"], delays["exponential"], *delays["settings"]]
    rows = {(f"{row['requests']:.1f}", f"{row['delay']:.1f} s", f"{row['delay_p95']:.1f} s") for row in measured}
    stated = re.findall(r"^\| .* \| ([0-9.]+) \| ([0-9.]+ s) \| ([0-9.]+ s) \|$", COST.text, re.MULTILINE)
    assert len(stated) == 5
    assert set(stated) <= rows
    machine = figures["machine"]
    assert f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, {machine['python']}" in COST.text
    for document in (README, COST):
        assert f"{figures['scale']['bytes_per_watch'] / 1024:.1f} KiB" in document.text


def test_documented_costs_match_the_benchmark() -> None:
    """Costs over the lower bound match the benchmark's file."""
    costs = json.loads((ROOT / "docs" / "bench" / "figures.json").read_text())["cost_over_bound"]
    measured: dict[str, list[str]] = {}
    for result in (*costs["until_eta"], *costs["others"]):
        measured.setdefault(result["workload"], []).append(f"{result['over_bound']:.2f}")
    stated = re.findall(r"^\| (.*) \| ([0-9.]+) \| ([0-9.]+) \| ([0-9.]+) \| ([0-9.]+) \|$", COST.text, re.MULTILINE)
    assert {name: costs for name, *costs in stated} == {name: row for name, row in measured.items() if len(row) > 1}


def test_the_readmes_figures_are_those_of_the_table() -> None:
    """The README rounds two rows of the table: the usual fixed interval and the watcher's own strategy."""
    told = re.findall(r"sends ([0-9]+)(?: requests per job)?, with a mean detection delay of ([0-9.]+ s)", README.text)
    rows = re.findall(r"^\| (?:every 5 s|`until_eta\(\)`) \| ([0-9.]+) \| (.*?) \|", COST.text, re.MULTILINE)
    assert told == [(f"{float(requests):.0f}", delay) for requests, delay in rows]


@pytest.mark.parametrize("document", [README, COST], ids=["README", "cost"])
def test_images_exist(document: Document) -> None:
    """Every embedded image is a complete SVG file."""
    images = re.findall(r"^!\[.+\]\((.+)\)$", document.text, re.MULTILINE)
    assert images
    folder = (ROOT / document.path).parent
    assert all((folder / image).read_text().rstrip().endswith("</svg>") for image in images)


def test_the_changelog_has_this_version() -> None:
    """The current version has a dated section in the changelog."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## \[{re.escape(version)}\] - [0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}$", changelog, re.MULTILINE)


def test_the_code_of_an_endpoint_is_that_of_the_package() -> None:
    """Every line of code in the contributors' guide to endpoints is in the file that it names."""
    lines = [line.strip() for line in Document("CONTRIBUTING.md").text.splitlines()]
    shown: list[str] = []
    code = ""
    for line in lines:
        if line.startswith("+++ b/"):
            code = (ROOT / line.removeprefix("+++ b/")).read_text("utf-8")
        elif line.startswith("+"):
            shown.append(line)
            assert f"\n{line.removeprefix('+')}\n" in code, line
    assert len(shown) > 20
