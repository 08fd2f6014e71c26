from __future__ import annotations

import json
import sys

import pytest
from support.cli.harness import Spawn

from clanforge_async.cli import main

WITHOUT = """
import json, sys
from clanforge_async.cli import main
statuses = []
for missing, command in ("typer", "--help"), ("starlette", "demo"), ("uvicorn", "simulate"):
    sys.modules[missing] = None
    statuses.append(main([command]))
    del sys.modules[missing]
print(json.dumps(statuses))
"""
LOADED = """
import json, sys
from clanforge_async.cli import main
before = [name for name in ("typer", "starlette", "uvicorn") if name in sys.modules]
main(sys.argv[1:])
after = [name for name in ("starlette", "uvicorn", "clanforge_async.simulator") if name in sys.modules]
print(json.dumps([before, after]))
"""


def test_a_missing_extra_is_named(spawn: Spawn) -> None:
    """What is not installed is told in a sentence that says how to install it, with status 2."""
    out, err = spawn(code=WITHOUT).communicate(timeout=20)
    assert json.loads(out) == [2, 2, 2]
    assert err.splitlines() == [
        "error: typer is not installed: pip install 'clanforge-async[cli]'",
        "error: starlette is not installed: pip install 'clanforge-async[cli,simulator]'",
        "error: uvicorn is not installed: pip install 'clanforge-async[cli,simulator]'",
    ]


def test_another_missing_module_is_no_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what an extra brings is told so; any other module that is missing is a fault, and shown as one."""
    monkeypatch.setitem(sys.modules, "clanforge_async.cli.run", None)
    with pytest.raises(ModuleNotFoundError):
        main(["--help"])


def test_help_loads_no_simulator(spawn: Spawn) -> None:
    """Importing the entry point loads no extra at all, and help none but its own."""
    out, _ = spawn("--help", code=LOADED).communicate(timeout=20)
    assert json.loads(out.splitlines()[-1]) == [[], []]
