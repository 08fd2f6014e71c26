"""Sphinx configuration; `nox -s docs` runs the build."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

project = "clanforge-async"
author = "The clanforge-async developers"
project_copyright = author
release = metadata.version(project)
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "_generated"]

html_theme = "furo"
html_title = f"{project} {release}"

myst_heading_anchors = 3

default_role = "any"  # single backquotes in docstrings are names
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

nitpicky = True
nitpick_ignore = [
    ("py:class", "Response"),  # starlette's
    ("py:class", "T"),  # a coroutine's return type
    ("py:class", "clanforge_async.watcher.J"),  # type of the job that a watch waits for
    ("py:class", "clanforge_async.temporal.watcher.J"),  # likewise
    ("py:class", "clanforge_async._polling.forecast.ForecastState"),  # private parts of a watch's state
    ("py:class", "clanforge_async._polling.server_clock.ServerClock"),
    ("py:class", "clanforge_async._http.request.T_co"),  # type of the value of a response
    ("py:class", "os.PathLike"),
    ("py:class", "clanforge_async._polling.distributions.ExpectedDuration"),  # a median and its spread
    ("py:class", "clanforge_async.releases.digest.PlanDigest"),  # parts of a token, which is opaque text to users
    ("py:class", "clanforge_async.releases.token.Decision"),
    ("py:class", "clanforge_async.releases.token.Intent"),
    ("py:class", "Callable[[]"),  # half of an annotation whose default has no readable repr
]
nitpick_ignore_regex = [
    # Names of other projects: their inventories are online, and this build works offline.
    ("py:class", r"(_?pytest|asyncio|collections|datetime|httpx|starlette|temporalio|tenacity|types)\..*"),
    ("py:exc", r"temporalio\..*"),
]

# typer generates the command reference: each build creates it again, and it is not committed.
COMMANDS = Path(__file__).parent / "_generated" / "commands.md"
COMMANDS.parent.mkdir(exist_ok=True)
typer = [sys.executable, "-m", "typer", "clanforge_async.cli.app"]
reference = subprocess.check_output([*typer, "utils", "docs", "--name", "clanforge"], text=True)  # noqa: S603 - this interpreter
COMMANDS.write_text(reference)
