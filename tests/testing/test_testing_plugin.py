from __future__ import annotations

import json
import subprocess
import sys

import pytest
from support.testing.projects import run_tests

FAILED_BUILD = """
import pytest
from clanforge_async import JobFailedError, JobWatcher

{marks}

async def test_a_failed_build_is_noticed(clanforge_simulator, clanforge_client, clanforge_clock):
    build = clanforge_simulator.add_image_version(9012, states="created,running:3600,failed")
    async with JobWatcher(clanforge_client) as watcher:
        with pytest.raises(JobFailedError):
            await watcher.wait(build)
    assert 3601 <= clanforge_clock.elapsed <= 3700
"""
STRICT = "pytestmark = pytest.mark.asyncio"
ANYIO = """
pytestmark = pytest.mark.anyio
@pytest.fixture
def anyio_backend():
    return "asyncio"
"""


@pytest.mark.parametrize(
    ("marks", "options"),
    [
        (STRICT, ()),
        ("", ("-o", "asyncio_mode=auto")),
        ("pytestmark = pytest.mark.asyncio(loop_scope='session')", ()),
        (ANYIO, ("-p", "no:asyncio", "-o", "addopts=", "-W", "ignore:Unknown config option")),
    ],
    ids=["asyncio", "asyncio, auto", "asyncio, one loop", "anyio"],
)
def test_an_async_test_runs_in_virtual_time(pytester: pytest.Pytester, marks: str, options: tuple[str, ...]) -> None:
    """A test with the fixtures watches a job of an hour at once, with any plugin for async tests."""
    run_tests(pytester, FAILED_BUILD.format(marks=marks), options=options).assert_outcomes(passed=1)


METHOD = """
import asyncio, pytest

class TestBuilds:
    @pytest.mark.asyncio
    @pytest.mark.parametrize("hours", [1, 2])
    async def test_it_takes_hours(self, clanforge_clock, hours):
        await asyncio.sleep(hours * 3600)
        assert clanforge_clock.elapsed == hours * 3600
"""
REAL_TIME = """
import asyncio, pytest

@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.usefixtures("clanforge_clock")
async def test_virtual():
    await asyncio.sleep(3600)

@pytest.mark.asyncio(loop_scope="module")
async def test_real():
    loop = asyncio.get_running_loop()
    at = loop.time()
    await asyncio.sleep(1e-6)
    assert at < loop.time() < at + 3600

@pytest.mark.asyncio
async def test_untouched():
    assert "time" not in vars(asyncio.get_running_loop())
"""
SYNC = """
from clanforge_async.testing import run

def test_in_its_own_loop(clanforge_simulator, clanforge_client, clanforge_clock):
    build = clanforge_simulator.add_image_version(9012, states="completed")
    assert run(clanforge_client.image_versions.status(9012), clock=clanforge_clock).is_completed
"""
CLOSED = """
import pytest
from clanforge_async import ConfigurationError
from clanforge_async.testing import run

clients = []

def test_open(clanforge_client):
    clients.append(clanforge_client)

def test_closed():
    with pytest.raises(ConfigurationError):
        run(clients[0].image_versions.status(9012))
"""

OVERRIDDEN = """
import pytest
from clanforge_async.simulator import Simulator

@pytest.fixture
def clanforge_simulator(clanforge_clock):
    simulator = Simulator(clock=clanforge_clock)
    simulator.add_image_version(9012, states="completed")
    return simulator

@pytest.mark.asyncio
async def test_with_a_custom_simulator(clanforge_client):
    assert (await clanforge_client.image_versions.status(9012)).is_completed
"""


@pytest.mark.parametrize(
    ("source", "passed"),
    [(METHOD, 2), (REAL_TIME, 3), (SYNC, 1), (CLOSED, 2), (OVERRIDDEN, 1)],
    ids=["methods", "other tests", "not async", "closed", "overridden"],
)
def test_fixtures_work_in_other_tests(pytester: pytest.Pytester, source: str, passed: int) -> None:
    """Methods and plain functions can use the fixtures, other tests keep real time, and a project can override them."""
    run_tests(pytester, source).assert_outcomes(passed=passed)


def test_a_missing_extra_is_named(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without starlette a test that uses the simulator fails with the extra to install."""
    monkeypatch.setitem(sys.modules, "starlette", None)
    monkeypatch.delitem(sys.modules, "clanforge_async.simulator")
    result = run_tests(pytester, "def test(clanforge_client): ...", options=("--tb=short",))
    result.assert_outcomes(errors=1)
    message = "the simulator needs starlette and uvicorn: pip install 'clanforge-async[simulator]'"
    assert "ERROR at setup of test" in result.outlines[result.outlines.index(message) - 1]


def test_the_plugin_imports_nothing() -> None:
    """The plugin imports only the package's names: no httpx, no simulator, no asyncio."""
    code = """if True:
        import json, sys, pytest
        before = set(sys.modules)
        import clanforge_async.pytest_plugin
        json.dump(sorted(set(sys.modules) - before), sys.stdout)
    """
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)  # noqa: S603
    assert json.loads(loaded.stdout) == ["clanforge_async", "clanforge_async.pytest_plugin"]
