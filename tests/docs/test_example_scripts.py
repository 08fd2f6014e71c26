"""The example scripts run as documented against ``clanforge simulate``."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from support.cli.harness import Finished, OverrideFields
from support.examples.example_process import EXAMPLES, environment, run_script

from clanforge_async.simulator import Simulator, serve

INDEX = (EXAMPLES / "README.md").read_text("utf-8")
FILES = sorted(path.name for path in EXAMPLES.glob("*.py"))
PROGRAMS = [name for name in FILES if not name.startswith("test_")]


def docstring(name: str) -> str:
    """Return an example's docstring."""
    text = ast.get_docstring(ast.parse((EXAMPLES / name).read_text("utf-8")))
    assert text is not None
    return text


def documented_arguments(name: str) -> list[str]:
    """Return the arguments in an example's documented command."""
    [command] = re.findall(rf"python {re.escape(name)} ([^#\n]+)", docstring(name))
    return str(command).split()


@pytest.fixture(scope="module")
def env() -> Iterator[dict[str, str]]:
    """Run ``clanforge simulate`` so fast that all jobs have ended, and return the variables that it prints."""
    command = [sys.executable, "-m", "clanforge_async", "simulate", "--port", "0", "--speed", "1e6"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own program
        assert process.stdout is not None
        printed = "".join(process.stdout.readline() for _ in range(7))
        yield environment(**dict(re.findall(r"export (\w+)=(\S+)", printed)))
        process.kill()


async def run_as_documented(name: str, env: dict[str, str]) -> Finished:
    """Run an example with its documented arguments."""
    return await run_script(name, *documented_arguments(name), env=env)


def test_the_index_lists_every_example() -> None:
    """Every example has a line in the index."""
    listed = re.findall(r"^\| \[(.+)\]\((.+)\) \| .+ \|$", INDEX, re.MULTILINE)
    pipeline = [f"pipeline/{path.name}" for path in (EXAMPLES / "pipeline").iterdir()]
    assert sorted(name for name, _ in listed) == sorted([*FILES, *pipeline, "service/"])
    assert all((EXAMPLES / target).exists() for _, target in listed)


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_example_documents_how_to_run_it(name: str) -> None:
    """An example's docstring starts with a sentence and has the command to run it."""
    assert re.fullmatch(r"[A-Z].*\.", docstring(name).splitlines()[0])
    assert documented_arguments(name)


async def test_watch_many_prints_each_outcome(env: dict[str, str]) -> None:
    """Every job's updates and outcome are printed, and a failed job decides the exit status."""
    finished = await run_as_documented("watch_many.py", env)
    assert (finished.status, finished.err) == (1, "")
    assert "image-version/9002: Completed, 100 %" in finished.lines
    assert re.search(r"^image-version/9002 ended after \d+ s and 1 polls: completed$", finished.out, re.MULTILINE)
    assert re.search(r"^image-version/9004 ended after .*: image-version/9004 failed: ", finished.out, re.MULTILINE)


async def test_a_failed_diff_is_retried_and_waited_for(env: dict[str, str]) -> None:
    """The reference to resume with is printed first, then the completion of the new run."""
    finished = await run_as_documented("retry_and_wait.py", env)
    assert (finished.status, finished.err) == (0, "")
    resume, end = finished.lines
    assert (match := re.fullmatch(r"to resume .*: clanforge watch (image-diff/5003@\d+)", resume))
    assert end == f"{match[1]} has completed"


async def test_a_custom_strategy_decides_when_to_poll() -> None:
    """A running job is polled again at the strategy's time."""
    simulator = Simulator()
    simulator.add_image_version(9003, duration=0)
    simulator.faults.add(OverrideFields.running(50), times=1)
    _, target = documented_arguments("custom_strategy.py")
    async with serve(simulator) as base_url:
        finished = await run_script("custom_strategy.py", "0", target, env=environment(CLANFORGE_BASE_URL=base_url))
    assert (finished.status, finished.err) == (0, "")
    assert finished.out == "image-version/9003 ended after 2 polls: completed\n"


async def test_jobs_are_watched_over_aiohttp(env: dict[str, str]) -> None:
    """Jobs watched over aiohttp have the same outcomes."""
    finished = await run_as_documented("aiohttp_transport.py", env)
    assert (finished.status, finished.out, finished.err) == (0, "2 of 2 jobs have completed\n", "")
