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
after = [
    name
    for name in ("asyncio", "httpx", "rich", "starlette", "uvicorn", "clanforge_async.simulator")
    if name in sys.modules
]
print(json.dumps([before, after]))
"""


def test_a_missing_extra_is_reported(spawn: Spawn) -> None:
    """A missing extra is reported with the command that installs it, and status 2."""
    out, err = spawn(code=WITHOUT).communicate(timeout=20)
    assert json.loads(out) == [2, 2, 2]
    assert err.splitlines() == [
        "error: typer is not installed: pip install 'clanforge-async[cli]'",
        "error: starlette is not installed: pip install 'clanforge-async[cli,simulator]'",
        "error: uvicorn is not installed: pip install 'clanforge-async[cli,simulator]'",
    ]


@pytest.mark.parametrize("module", ["run", "commands"])
def test_any_other_missing_module_raises(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """A missing module that belongs to no extra raises an ImportError."""
    monkeypatch.setitem(sys.modules, f"clanforge_async.cli.{module}", None)
    with pytest.raises(ModuleNotFoundError):
        main(["watch", "image-diff/5"])


@pytest.mark.parametrize("command", [(), ("image", "status")])
def test_help_loads_only_typer(spawn: Spawn, command: tuple[str, ...]) -> None:
    """Importing the entry point loads no extra; --help loads neither asyncio, httpx, rich nor the simulator."""
    out, _ = spawn(*command, "--help", code=LOADED).communicate(timeout=20)
    assert json.loads(out.splitlines()[-1]) == [[], []]
