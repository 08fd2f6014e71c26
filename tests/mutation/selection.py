"""A plugin of pytest's for mutmut: a mutant is shown to the tests that are about its module, and to no other.

By itself mutmut shows it to every test that reaches it, and nearly every test reaches a poll's whole way: a survivor
would cost minutes, and what is noticed a long way off is as good as not noticed at all.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import Phase, settings

_CALLS = ("test_client_calls", "test_call_retries", "test_image_diff_retry")
_WATCHES = (
    "test_watch_start",
    "test_watch_ends",
    "test_watch_updates",
    "test_watch_many",
    "test_watch_sharing",
    "test_watch_deadlines",
    "test_watch_outages",
    "test_watch_stale",
    "test_watch_closing",
)
ABOUT: dict[str, tuple[str, ...]] = {
    "errors": ("test_errors",),
    "_codec": ("test_wire", "test_wire_properties", "test_client_calls"),
    "_http.response": _CALLS,
    "_http.retry_policy": _CALLS,
    "_http.session": (
        *_CALLS,
        "test_client_setup",
        "test_auth",
        "test_limits",
        "test_transport_errors",
        "test_cancellation",
        "test_watch_closing",
    ),
    "_polling.estimators": ("test_forecasts", "test_polling"),
    "_polling.forecast": ("test_forecasts", "test_polling"),
    "_polling.strategy": ("test_polling", "test_rules"),
    "_watching.decisions": ("test_rules", "test_rules_properties", "test_watch_outages", "test_watch_stale"),
    "_results": _WATCHES,
    "_watch": _WATCHES,
    "_watching.scheduler": (*_WATCHES, "test_watch_scale", "test_polling"),
    "watcher": _WATCHES,
}
"""For each module that is changed, the tests that are to notice."""

_USED_AT_IMPORT = ("errors.", "_codec.x__field", "_codec.x__make_converter", "_polling.strategy.xǁuntil_etaǁ__init__")
"""What is called while modules are imported, and is changed too late in a process that has imported them."""

_ENDLESS = 8.0
"""Seconds of computing after which a test is taken for one that would never end; none takes more than three."""

# An example that fails is found, and that is all: to find the smallest takes longer than everything else.
settings.register_profile(
    "mutants", settings.get_profile("ci"), phases=(Phase.explicit, Phase.reuse, Phase.generate), database=None
)


def pytest_configure(config: pytest.Config) -> None:
    """Of the tests that reach a mutant, which come quickest first, take those that are about its module."""
    mutant = os.environ.get("MUTANT_UNDER_TEST", "").removeprefix("clanforge_async.")
    about = [f"tests/{name}.py" for name in ABOUT.get(mutant.partition(".")[0], ())]
    if mutant.startswith(_USED_AT_IMPORT):
        config.args = about
        _forget_imports()
    elif reached := [test for test in config.args if test.startswith(tuple(about))]:
        config.args = reached


def pytest_runtest_setup() -> None:
    """End the process, as mutmut does for one that takes too long, when a test computes for ever."""
    signal.signal(signal.SIGVTALRM, lambda *_: os.kill(os.getpid(), signal.SIGXCPU))
    signal.setitimer(signal.ITIMER_VIRTUAL, _ENDLESS)


def pytest_runtest_teardown() -> None:
    """Let the time of whatever follows be its own: mutmut itself goes on in the process of its first runs."""
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Count a test that cannot even be imported as one that has failed, which mutmut takes for an interruption."""
    if session.testsfailed:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _forget_imports() -> None:
    here = Path.cwd()
    for name, module in tuple(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is not None and here in Path(file).parents:
            del sys.modules[name]
