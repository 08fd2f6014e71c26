"""The examples that are single files run as they stand, against what `clanforge simulate` serves."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from support.cli.harness import Finished, OverrideFields
from support.examples.running import EXAMPLES, environment, run_script

from clanforge_async.simulator import Simulator, serve

INDEX = (EXAMPLES / "README.md").read_text("utf-8")
FILES = sorted(path.name for path in EXAMPLES.glob("*.py"))
PROGRAMS = [name for name in FILES if not name.startswith("test_")]


def docstring(name: str) -> str:
    """Return what an example says of itself."""
    said = ast.get_docstring(ast.parse((EXAMPLES / name).read_text("utf-8")))
    assert said is not None
    return said


def shown(name: str) -> list[str]:
    """Return the arguments with which an example says that it is run."""
    [command] = re.findall(rf"python {re.escape(name)} ([^#\n]+)", docstring(name))
    return str(command).split()


@pytest.fixture(scope="module")
def env() -> Iterator[dict[str, str]]:
    """Run ``clanforge simulate``, so fast that all has ended, and take the variables that it prints."""
    command = [sys.executable, "-m", "clanforge_async", "simulate", "--port", "0", "--speed", "1e6"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own program
        assert process.stdout is not None
        printed = "".join(process.stdout.readline() for _ in range(7))
        yield environment(**dict(re.findall(r"export (\w+)=(\S+)", printed)))
        process.kill()


async def run_as_shown(name: str, env: dict[str, str]) -> Finished:
    """Run an example with the arguments that it shows."""
    return await run_script(name, *shown(name), env=env)


def test_the_index_lists_every_example() -> None:
    """Whatever there is has its line in the index."""
    listed = re.findall(r"^\| \[(.+)\]\((.+)\) \| .+ \|$", INDEX, re.MULTILINE)
    pipeline = [f"pipeline/{path.name}" for path in (EXAMPLES / "pipeline").iterdir()]
    assert sorted(name for name, _ in listed) == sorted([*FILES, *pipeline, "service/"])
    assert all((EXAMPLES / target).exists() for _, target in listed)


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_example_opens_with_a_sentence_and_how_to_run_it(name: str) -> None:
    """Each example says in its first line what it does, and then how it is run."""
    assert re.fullmatch(r"[A-Z].*\.", docstring(name).splitlines()[0])
    assert shown(name)


async def test_watching_many_tells_of_each(env: dict[str, str]) -> None:
    """Every job's changes and end are told, and one that failed decides the exit status."""
    finished = await run_as_shown("watch_many.py", env)
    assert (finished.status, finished.err) == (1, "")
    assert "image-version/9002: Completed, 100 %" in finished.lines
    assert re.search(r"^image-version/9002 ended after \d+ s and 1 polls: completed$", finished.out, re.MULTILINE)
    assert re.search(r"^image-version/9004 ended after .*: image-version/9004 failed: ", finished.out, re.MULTILINE)


async def test_a_failed_diff_is_retried_and_waited_for(env: dict[str, str]) -> None:
    """The reference to resume with is told first, then that the new run has completed."""
    finished = await run_as_shown("retry_and_wait.py", env)
    assert (finished.status, finished.err) == (0, "")
    resume, end = finished.lines
    assert (match := re.fullmatch(r"to resume .*: clanforge watch (image-diff/5003@\d+)", resume))
    assert end == f"{match[1]} has completed"


async def test_a_strategy_of_ones_own_decides_when_to_poll() -> None:
    """A job that runs is polled again when the strategy says so."""
    simulator = Simulator()
    simulator.add_image_version(9003, duration=0)
    simulator.faults.add(OverrideFields.running(50), times=1)
    _, target = shown("custom_strategy.py")
    async with serve(simulator) as base_url:
        finished = await run_script("custom_strategy.py", "0", target, env=environment(CLANFORGE_BASE_URL=base_url))
    assert (finished.status, finished.err) == (0, "")
    assert finished.out == "image-version/9003 ended after 2 polls: completed\n"


async def test_jobs_are_watched_over_aiohttp(env: dict[str, str]) -> None:
    """The other transport brings the same ends."""
    finished = await run_as_shown("aiohttp_transport.py", env)
    assert (finished.status, finished.out, finished.err) == (0, "2 of 2 jobs have completed\n", "")
