"""A user's project: an empty folder with tests in it, run by a pytest of its own in this process."""

from __future__ import annotations

import pytest

# What the tests of such a project import stays loaded; pytester forgets whatever its runs load first.
import clanforge_async.simulator
import clanforge_async.testing  # noqa: F401


def run_tests(pytester: pytest.Pytester, *sources: str, options: tuple[str, ...] = ()) -> pytest.RunResult:
    """Run files of tests, as a user does who has installed the package.

    The plugin is named, since the package may be installed without its entry points here.
    """
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\nfilterwarnings =\n    error")
    pytester.makepyfile(**{f"test_{number}": source for number, source in enumerate(sources)})
    plugin = "-p", "no:clanforge", "-p", "clanforge_async.pytest_plugin"
    slow = "-p", "no:hypothesispytest"  # it would load hypothesis anew each time
    loaded = "-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"
    return pytester.runpytest_inprocess(*plugin, *slow, *loaded, *options)
