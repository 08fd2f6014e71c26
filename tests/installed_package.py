"""What must hold of the package as installed from its wheel, with the base dependencies alone; run by itself."""

from __future__ import annotations

import sys
from importlib import metadata, resources

import clanforge_async

EXTRAS = {"cli", "simulator", "aiohttp", "all"}
ONLY_IN_EXTRAS = {"typer", "rich", "starlette", "uvicorn", "aiohttp", "httpx_aiohttp"}

about = metadata.metadata("clanforge-async")
assert about["Name"] == "clanforge-async"
assert about["Requires-Python"] == ">=3.11"
assert about["License-Expression"] == "MIT"
assert set(about.get_all("Provides-Extra", [])) == EXTRAS
assert about["Summary"]
assert "## Try it" in about.json["description"]

for file in ("py.typed", "cli/report.html"):
    assert resources.files(clanforge_async).joinpath(file).is_file(), file
assert all(hasattr(clanforge_async, name) for name in clanforge_async.__all__)
assert not ONLY_IN_EXTRAS & set(sys.modules), "importing the package loads an extra"
(script,) = (entry for entry in metadata.entry_points(group="console_scripts") if entry.name == "clanforge")
assert script.value == "clanforge_async.cli:main"

sys.stdout.write(f"clanforge-async {about['Version']} works as installed\n")
