"""A pytest plugin for mutmut: runs each mutant only against the tests of its module.

By default, mutmut runs every test that reaches a mutant, and nearly all tests poll: a survivor would take minutes, and
a failure in a distant test would hide that the module's own tests do not find the mutant.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from mutation.names import PACKAGE, module_of

TESTS_OF: dict[str, tuple[str, ...]] = {
    "_codec": ("tests/codec", "tests/properties/test_codec_properties.py", "tests/calls/test_client_calls.py"),
    "_codec.images": (
        "tests/calls/test_image_diffs.py",
        "tests/calls/test_image_installs.py",
        "tests/calls/test_images.py",
        "tests/properties/test_image_properties.py",
    ),
    "_http": ("tests/calls", "tests/watching/test_watch_closing.py"),
    "_polling": (
        "tests/polling/test_forecast.py",
        "tests/polling/test_receding_eta.py",
        "tests/polling/test_strategy.py",
    ),
    "_polling.strategy": ("tests/polling/test_strategy.py", "tests/watching/test_decisions.py"),
    "_watching": ("tests/watching",),
    "_watching.decisions": (
        "tests/properties/test_decision_properties.py",
        "tests/watching/test_decisions.py",
        "tests/watching/test_watch_outages.py",
        "tests/watching/test_watch_stale.py",
    ),
    "_watching.scheduler": ("tests/watching", "tests/polling/test_strategy.py"),
    "errors": ("tests/calls/test_errors.py",),
    "resources": (
        "tests/calls/test_image_diff_retry.py",
        "tests/calls/test_image_diffs.py",
        "tests/calls/test_image_installs.py",
        "tests/calls/test_image_updates.py",
        "tests/calls/test_image_versions.py",
        "tests/calls/test_images.py",
        "tests/calls/test_unknown_outcomes.py",
    ),
    "watcher": ("tests/watching",),
}
"""Tests of each module or package that is mutated; the longest name counts. Together they are all that mutmut runs."""

_USED_AT_IMPORT = (
    "errors.",
    "_codec.objects.",
    "_codec.jobs.",
    "_codec.images.",
    "_polling.strategy.xǁuntil_etaǁ__init__",
)
"""Mutants that are called at import, which has no effect in a process that has already imported their module."""

_MAX_CPU_SECONDS = 8.0
"""CPU seconds after which a test counts as one that never ends; the slowest takes about three."""

# Any failing example will do: to shrink it takes longer than everything else.
settings.register_profile(
    "mutants", settings.get_profile("ci"), phases=(Phase.explicit, Phase.reuse, Phase.generate), database=None
)


def pytest_configure(config: pytest.Config) -> None:
    """Run the tests of the mutant's module; without a mutant, the tests of all modules."""
    mutant = os.environ.get("MUTANT_UNDER_TEST", "").removeprefix(PACKAGE)
    tests = tests_of(module_of(mutant))
    if mutant.startswith(_USED_AT_IMPORT):
        config.args = list(tests)
        _forget_imports()
    elif config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = sorted({test for tests in TESTS_OF.values() for test in tests})
    elif reached := [test for test in config.args if test.startswith(tests)]:
        config.args = reached


def tests_of(module: str) -> tuple[str, ...]:
    """Return the tests of a module: those of the longest matching name in `TESTS_OF`; empty if none matches."""
    while module and module not in TESTS_OF:
        module = module.rpartition(".")[0]
    return TESTS_OF.get(module, ())


def pytest_runtest_setup() -> None:
    """End the process, as mutmut does after its timeout, if a test uses too much CPU."""
    signal.signal(signal.SIGVTALRM, lambda *_: os.kill(os.getpid(), signal.SIGXCPU))
    signal.setitimer(signal.ITIMER_VIRTUAL, _MAX_CPU_SECONDS)


def pytest_runtest_teardown() -> None:
    """Stop the timer: mutmut continues in the process of its first runs."""
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Count a test that can't be imported as failed; otherwise mutmut would count it as an interruption."""
    if session.testsfailed:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _forget_imports() -> None:
    here = Path.cwd()
    for name, module in tuple(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is not None and here in Path(file).parents:
            del sys.modules[name]
