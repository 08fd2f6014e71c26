"""Runs the tests of a user's project in a separate pytest run in this process."""

from __future__ import annotations

import pytest

# Imported here to stay loaded: pytester unloads the modules that its runs import first.
import clanforge_async.simulator
import clanforge_async.testing  # noqa: F401


def run_tests(pytester: pytest.Pytester, *sources: str, options: tuple[str, ...] = ()) -> pytest.RunResult:
    """Run test files as a user of the installed package.

    The plugin is loaded by name, since the package may be installed without entry points.
    """
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\nfilterwarnings =\n    error")
    pytester.makepyfile(**{f"test_{number}": source for number, source in enumerate(sources)})
    plugin = "-p", "no:clanforge", "-p", "clanforge_async.pytest_plugin"
    slow = "-p", "no:hypothesispytest"  # it would import hypothesis in each run
    loaded = "-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"
    test_client = "-W", "ignore:Using `httpx` with `starlette.testclient` is deprecated"
    return pytester.runpytest_inprocess(*plugin, *slow, *loaded, *test_client, *options)
