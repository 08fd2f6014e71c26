"""The examples that are single files run as they stand, and say how it went."""

from __future__ import annotations

import ast
import re
from collections.abc import AsyncIterator

import pytest
from cli.harness import Says
from examples.running import EXAMPLES, environment, run_script

from clanforge_async.simulator import Simulator, serve

PROGRAMS = sorted(path.name for path in EXAMPLES.glob("*.py"))


@pytest.fixture
def simulator() -> Simulator:
    """Return a diff that has failed and will not fail again, and an image version that is about to complete."""
    simulator = Simulator(speed=1000)
    simulator.add_image_diff(5678, duration=0, outcome="failed", error="disk full")
    simulator.add_image_version(9012, duration=100)
    return simulator


@pytest.fixture
async def env(simulator: Simulator) -> AsyncIterator[dict[str, str]]:
    async with serve(simulator) as base_url:
        yield environment(base_url)


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_example_opens_with_a_sentence_and_how_to_run_it(name: str) -> None:
    """Each example says in its first line what it does, and then how it is run."""
    said = ast.get_docstring(ast.parse((EXAMPLES / name).read_text("utf-8")))
    assert said is not None
    assert re.fullmatch(r"[A-Z].*\.", said.splitlines()[0])
    assert f"python {name} " in said


async def test_watching_many_tells_of_each(env: dict[str, str]) -> None:
    """Every job's changes and end are told, and one that failed decides the exit status."""
    finished = await run_script("watch_many.py", "image-version/9012", "image-diff/5678", env=env)
    assert (finished.status, finished.err) == (1, "")
    assert re.search(r"^image-version/9012 ended after \d+ s and \d+ polls: completed$", finished.out, re.MULTILINE)
    assert re.search(r"^image-diff/5678 ended after .*: image-diff/5678 failed: disk full$", finished.out, re.MULTILINE)


async def test_a_failed_diff_is_retried_and_waited_for(env: dict[str, str]) -> None:
    """The reference to resume with is told first, then that the new run has completed."""
    finished = await run_script("retry_and_wait.py", "5678", env=env)
    assert (finished.status, finished.err) == (0, "")
    resume, end = finished.lines
    assert (match := re.fullmatch(r"to resume .*: clanforge watch (image-diff/5678@\d+)", resume))
    assert end == f"{match[1]} has completed"


async def test_a_strategy_of_ones_own_decides_when_to_poll(simulator: Simulator, env: dict[str, str]) -> None:
    """A job that runs is polled again when the strategy says so."""
    simulator.faults.add(Says.running(50), id=9012, times=1)
    finished = await run_script("custom_strategy.py", "0", "image-version/9012", env=env)
    assert (finished.status, finished.err) == (0, "")
    assert finished.out == "image-version/9012 ended after 2 polls: completed\n"


async def test_jobs_are_watched_over_aiohttp(env: dict[str, str]) -> None:
    """The other transport brings the same ends."""
    finished = await run_script("aiohttp_transport.py", "image-version/9012", "image-diff/5678", env=env)
    assert (finished.status, finished.out, finished.err) == (0, "1 of 2 jobs have completed\n", "")
