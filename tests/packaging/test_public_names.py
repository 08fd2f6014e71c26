"""What users import: these names, and nothing that they did not install."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from importlib import resources

import pytest

import clanforge_async

NAMES = {
    # the client
    "CLANFORGE_URL",
    "MULTIPLAY_URL",
    "AccessKeyAuth",
    "BearerTokenAuth",
    "ClanforgeClient",
    # jobs
    "ImageDiffJob",
    "ImageVersionJob",
    "Job",
    "JobKind",
    "JobRef",
    "JobState",
    "job_from_dict",
    "job_to_dict",
    # watching
    "JobWatcher",
    "WatchResult",
    "until_eta",
    # errors
    "APIError",
    "AuthenticationError",
    "BadRequestError",
    "ClanforgeError",
    "ConfigurationError",
    "ImageLockedError",
    "InvalidResponseError",
    "JobFailedError",
    "JobSquashedError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "RequestTimeoutError",
    "RetryOutcomeUnknownError",
    "ServerError",
    "StaleJobError",
    "TransportError",
    "WatchClosedError",
    "WatchTimeoutError",
}
EXTRAS = {"typer", "rich", "starlette", "uvicorn", "aiohttp", "httpx_aiohttp"}


def test_the_public_names_are_these() -> None:
    """``__all__`` lists exactly the public names, each once, sorted as ruff sorts."""
    assert set(clanforge_async.__all__) == NAMES
    assert len(clanforge_async.__all__) == len(NAMES)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_public_name_can_be_imported(name: str) -> None:
    """Each public name is there, and what is a class or a function is documented."""
    thing = getattr(clanforge_async, name)
    assert thing.__doc__


def test_everything_else_is_a_module_or_private() -> None:
    """No public name hides beside ``__all__``."""
    others = {name for name in vars(clanforge_async) if not name.startswith("_")} - NAMES
    assert all(type(getattr(clanforge_async, name)).__name__ == "module" for name in others)


def test_the_package_is_typed() -> None:
    """The package says that it has types."""
    assert resources.files(clanforge_async).joinpath("py.typed").is_file()


def test_the_names_can_be_listed_before_they_are_used() -> None:
    """``dir`` and `inspect.getmembers` show the public names, and a name that there is not is missed by its name."""
    assert set(dir(clanforge_async)) >= NAMES
    assert dict(inspect.getmembers(clanforge_async)).keys() >= NAMES
    with pytest.raises(AttributeError, match="module 'clanforge_async' has no attribute 'JobWatchers'"):
        clanforge_async.JobWatchers  # type: ignore[attr-defined]  # noqa: B018


def packages_loaded_by(code: str) -> set[str]:
    """Return what all of the package's names load in a fresh interpreter, after some other code."""
    snapshot = "before = set(sys.modules); from clanforge_async import *"
    report = "json.dump(sorted(set(sys.modules) - before), sys.stdout)"
    script = f"import json, sys\n{code}\n{snapshot}\n{report}"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)  # noqa: S603 - this interpreter
    return {name.partition(".")[0] for name in json.loads(run.stdout)}


def test_the_names_load_no_extra() -> None:
    """The public names load nothing of the extras."""
    # httpx by itself loads rich, for its own command line, where that is installed.
    loaded = packages_loaded_by("import httpx")
    assert "clanforge_async" in loaded
    assert not loaded & EXTRAS


def test_the_names_need_no_extra() -> None:
    """Where no extra is installed the public names are there all the same."""
    without = "; ".join(f"sys.modules[{name!r}] = None" for name in sorted(EXTRAS))
    assert "clanforge_async" in packages_loaded_by(without)
