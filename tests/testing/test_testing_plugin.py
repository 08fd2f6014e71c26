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


GIVEN = """
import asyncio, itertools, pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from clanforge_async import JobWatcher

{marks}

once = settings(max_examples=3, deadline=None, database=None, suppress_health_check=list(HealthCheck))
ids = itertools.count(1)

@once
@given(seconds=st.integers(3600, 7200))
async def test_function(clanforge_simulator, clanforge_clock, seconds):
    began = clanforge_clock.elapsed
    build = clanforge_simulator.add_image_version(next(ids), states=f"running:{{seconds}},completed")
    async with clanforge_simulator.client() as client, JobWatcher(client) as watcher:
        await watcher.wait(build)
    assert seconds - 1 <= clanforge_clock.elapsed - began <= seconds + 100

class TestBuilds:
    @pytest.mark.parametrize("hours", [1, 2])
    @once
    @given(seconds=st.integers(0, 3600))
    async def test_method(self, clanforge_clock, hours, seconds):
        began = clanforge_clock.elapsed
        await asyncio.sleep(3600 * hours + seconds)
        assert clanforge_clock.elapsed - began == 3600 * hours + seconds
"""


@pytest.mark.parametrize(
    ("marks", "options"),
    [
        (STRICT, ()),
        ("pytestmark = pytest.mark.asyncio(loop_scope='module')", ()),
        (ANYIO, ("-p", "no:asyncio", "-o", "addopts=", "-W", "ignore:Unknown config option")),
        (ANYIO, ()),
    ],
    ids=["asyncio", "asyncio, one loop", "anyio", "anyio beside asyncio"],
)
def test_examples_of_hypothesis_run_in_virtual_time(
    pytester: pytest.Pytester, marks: str, options: tuple[str, ...]
) -> None:
    """Each example of an async test with `@given` runs in virtual time."""
    run_tests(pytester, GIVEN.format(marks=marks), options=options).assert_outcomes(passed=3)


DECORATED = """
import asyncio, functools, pytest
from unittest import mock
from hypothesis import HealthCheck, given, settings, strategies as st

def async_decorator(test):
    @functools.wraps(test)
    async def wrapper(*args, **kwargs):
        await test(*args, **kwargs)
    return wrapper

def runs_it(test):
    @functools.wraps(test)
    def wrapper(*args, **kwargs):
        return asyncio.run(test(*args, **kwargs))
    return wrapper

@pytest.fixture
@runs_it
async def waited(clanforge_clock):
    await asyncio.sleep(3600)
    return clanforge_clock.elapsed

def test_decorated_fixture(waited):
    assert 3600 <= waited < 3610

@pytest.mark.asyncio
@async_decorator
async def test_async_decorator(clanforge_clock):
    await asyncio.sleep(3600)
    assert clanforge_clock.elapsed == 3600

@pytest.mark.asyncio
@mock.patch("asyncio.Queue")
async def test_mock(queue, clanforge_clock):
    await asyncio.sleep(3600)
    assert clanforge_clock.elapsed == 3600

@runs_it
async def test_decorator_that_runs_it(clanforge_clock):
    await asyncio.sleep(3600)
    assert clanforge_clock.elapsed == 3600
    assert await asyncio.to_thread(asyncio.run, asyncio.sleep(0.001, "real time")) == "real time"

@settings(max_examples=3, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(seconds=st.integers(0, 3600))
@runs_it
async def test_given_and_run(clanforge_clock, seconds):
    await asyncio.sleep(seconds)
"""
REQUESTED = """
import asyncio, pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from clanforge_async import JobWatcher

@pytest.mark.asyncio
async def test_while_it_runs(request):
    simulator = request.getfixturevalue("clanforge_simulator")
    build = simulator.add_image_version(9012, states="running:3600,completed")
    async with JobWatcher(request.getfixturevalue("clanforge_client")) as watcher:
        await watcher.wait(build)
    assert request.getfixturevalue("clanforge_clock").elapsed >= 3600

@pytest.mark.asyncio
@pytest.mark.parametrize("hours", [1, 2])
@settings(max_examples=3, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(seconds=st.integers(0, 3600))
async def test_given(request, hours, seconds):
    clock = request.getfixturevalue("clanforge_clock")
    began = clock.elapsed
    await asyncio.sleep(3600 * hours + seconds)
    assert clock.elapsed - began == 3600 * hours + seconds
"""
UNITTEST = """
import asyncio, pytest, unittest
from clanforge_async import JobWatcher

class TestBuilds(unittest.IsolatedAsyncioTestCase):
    @pytest.fixture(autouse=True)
    def simulated(self, clanforge_simulator, clanforge_client, clanforge_clock):
        self.simulator, self.client, self.clock = clanforge_simulator, clanforge_client, clanforge_clock

    async def test_it_takes_an_hour(self):
        build = self.simulator.add_image_version(9012, states="running:3600,completed")
        async with JobWatcher(self.client) as watcher:
            await watcher.wait(build)
        self.assertGreaterEqual(self.clock.elapsed, 3600)

    async def test_it_takes_two(self):
        await asyncio.sleep(7200)
        self.assertEqual(self.clock.elapsed, 7200)

    def test_sync(self):
        self.assertLess(self.clock.elapsed, 60)

class TestAround(unittest.IsolatedAsyncioTestCase):
    @pytest.fixture(autouse=True)
    def simulated(self, clanforge_clock):
        self.clock = clanforge_clock
        yield
        assert self.clock.elapsed == 10800

    async def asyncSetUp(self):
        await asyncio.sleep(3600)

    async def test_between(self):
        await asyncio.sleep(3600)
        self.assertEqual(self.clock.elapsed, 7200)

    async def asyncTearDown(self):
        await asyncio.sleep(3600)

class TestSync(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def simulated(self, clanforge_clock):
        self.clock = clanforge_clock

    def test_real_time(self):
        self.assertNotEqual(self.clock.elapsed, self.clock.elapsed)
"""
ASYNC_FIXTURES = """
import asyncio, pytest, pytest_asyncio
from clanforge_async import JobWatcher

in_one_loop = pytest.mark.asyncio(loop_scope="module")

@pytest_asyncio.fixture(loop_scope="module")
async def image(clanforge_simulator, clanforge_client):
    build = clanforge_simulator.add_image_version(9012, states="running:3600,completed")
    async with JobWatcher(clanforge_client) as watcher:
        return await watcher.wait(build)

@pytest.fixture
def size(image):
    return image.progress

@pytest_asyncio.fixture(loop_scope="module")
async def service(clanforge_clock, size):
    await asyncio.sleep(600)
    began = clanforge_clock.elapsed
    yield size
    await asyncio.sleep(3600)
    assert clanforge_clock.elapsed == began + 3600

@pytest_asyncio.fixture(loop_scope="module")
async def real():
    loop = asyncio.get_running_loop()
    at = loop.time()
    await asyncio.sleep(1e-6)
    assert at < loop.time() < at + 3600

@in_one_loop
async def test_a_fixture_waits(image, real, service, clanforge_clock):
    assert image.is_completed
    assert service == 100
    assert 4200 <= clanforge_clock.elapsed <= 4300

class TestClass:
    waited = False

    @pytest_asyncio.fixture(loop_scope="module")
    async def wait(self, clanforge_clock):
        await asyncio.sleep(3600)
        self.waited = True

    @pytest_asyncio.fixture(loop_scope="module")
    async def twice(self, clanforge_clock):
        await asyncio.sleep(3600)
        yield self

    @in_one_loop
    async def test_method(self, wait, twice, clanforge_clock):
        assert clanforge_clock.elapsed == 7200
        assert self.waited
        assert twice is self

def test_sync(image, clanforge_clock):
    assert 3600 <= clanforge_clock.elapsed <= 3700
"""
ANYIO_FIXTURES = """
import asyncio, pytest

pytestmark = pytest.mark.anyio

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.fixture
async def waited(clanforge_clock):
    await asyncio.sleep(3600)
    yield clanforge_clock.elapsed
    await asyncio.sleep(3600)

async def test_a_fixture_waits(waited, clanforge_clock):
    await asyncio.sleep(3600)
    assert (waited, clanforge_clock.elapsed) == (3600, 7200)
"""


@pytest.mark.parametrize(
    ("source", "passed"),
    [(DECORATED, 5), (REQUESTED, 3), (UNITTEST, 5), (ASYNC_FIXTURES, 3), (ANYIO_FIXTURES, 1)],
    ids=["decorators", "fixtures by name", "unittest", "async fixtures", "async fixtures of anyio"],
)
def test_everything_async_runs_in_virtual_time(pytester: pytest.Pytester, source: str, passed: int) -> None:
    """Async tests run in virtual time however they are written, and so do the async fixtures that use the clock."""
    run_tests(pytester, source).assert_outcomes(passed=passed)


TEST_CLIENT = """
import asyncio, time
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from clanforge_async import JobRef, JobWatcher


def make_app(client):
    @asynccontextmanager
    async def lifespan(app):
        async with JobWatcher(client, interval=0.05) as watcher:
            app.state.wait = asyncio.create_task(watcher.wait(JobRef.image_version(9012)))
            yield

    async def is_completed(request):
        return JSONResponse(request.app.state.wait.done() and request.app.state.wait.result().is_completed)

    return Starlette(lifespan=lifespan, routes=[Route("/", is_completed)])


def test_a_job_ends(clanforge_simulator, clanforge_client):
    clanforge_simulator.add_image_version(9012, states="running:0.2,completed")
    with TestClient(make_app(clanforge_client)) as http:
        ends = time.monotonic() + 10
        while not http.get("/").json():
            assert time.monotonic() < ends
            time.sleep(0.01)
"""
REAL_CLOCK = """
import asyncio, time
from clanforge_async.testing import VirtualTimeLoop, run, virtual_time

def test_the_clock_follows_real_time(clanforge_clock):
    time.sleep(0.02)
    assert 0.02 <= clanforge_clock.elapsed < 60
    assert abs(clanforge_clock() - time.time()) < 60

def test_it_can_be_advanced(clanforge_clock):
    clanforge_clock.advance(3600)
    assert 3600 <= clanforge_clock.elapsed < 3660

def test_virtual_loops_hold_it(clanforge_clock):
    async def main():
        began = clanforge_clock.elapsed
        time.sleep(0.02)
        assert clanforge_clock.elapsed == began
        await asyncio.sleep(3600)
        assert clanforge_clock.elapsed == began + 3600

    async def main_in_a_block():
        with virtual_time(clanforge_clock):
            await main()

    run(main(), clock=clanforge_clock)
    asyncio.run(main_in_a_block())
    began = clanforge_clock.elapsed
    time.sleep(0.02)
    assert began + 0.02 <= clanforge_clock.elapsed < 7300

def test_it_goes_on_when_a_loop_is_closed(clanforge_clock):
    loop = VirtualTimeLoop(clanforge_clock)
    assert clanforge_clock.elapsed == clanforge_clock.elapsed
    loop.close()
    loop.close()
    began = clanforge_clock.elapsed
    time.sleep(0.02)
    assert clanforge_clock.elapsed > began
"""


def test_a_job_ends_while_a_sync_test_calls_an_app(pytester: pytest.Pytester) -> None:
    """In a sync test with starlette's TestClient, which runs the app in a thread, jobs progress in real time."""
    run_tests(pytester, TEST_CLIENT).assert_outcomes(passed=1)


def test_the_clock_of_sync_tests_follows_real_time(pytester: pytest.Pytester) -> None:
    """In a sync test, the clock follows real time, except while a loop uses it for virtual time."""
    run_tests(pytester, REAL_CLOCK).assert_outcomes(passed=4)


def test_a_missing_extra_is_named(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without starlette, a test that uses the simulator fails with the name of the extra to install."""
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
