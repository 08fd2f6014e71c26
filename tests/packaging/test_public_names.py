"""The public names are complete, documented, and need no extra."""

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
    "__version__",
    # sources
    "GoogleSource",
    "S3Source",
    "SteamSource",
    # jobs
    "ImageDiffDetails",
    "ImageDiffJob",
    "ImageVersionJob",
    "Job",
    "JobKind",
    "JobRef",
    "ImageUpdateJob",
    "JobState",
    # images
    "DiffRejection",
    "FleetRollout",
    "Image",
    "ImageEntry",
    "ImageInstall",
    "ImageOptions",
    "ImageRollout",
    "QueuedInstall",
    "RegionRollout",
    "ReinstallJob",
    "StragglerPolicy",
    "job_from_dict",
    "job_to_dict",
    # watching
    "JobWatcher",
    "WatchResult",
    "until_eta",
    # releasing
    "AbortResult",
    "ImageRelease",
    "ReleaseEvent",
    "ReleasePlan",
    "ReleaseResult",
    "ReleaseStep",
    "ReleaseToken",
    "Releaser",
    # errors
    "APIError",
    "AuthenticationError",
    "BadRequestError",
    "ClanforgeError",
    "ConfigurationError",
    "ImageLockedError",
    "InvalidResponseError",
    "JobFailedError",
    "JobForecast",
    "JobHistory",
    "JobSquashedError",
    "NotFoundError",
    "OutcomeUnknownError",
    "PermissionDeniedError",
    "RateLimitError",
    "RequestTimeoutError",
    "ReleaseError",
    "ReleaseRejectedError",
    "ReleaseSupersededError",
    "ReleaseTimeoutError",
    "RetryOutcomeUnknownError",
    "RolloutError",
    "ServerError",
    "StaleJobError",
    "TransportError",
    "WatchClosedError",
    "WatchTimeoutError",
}
EXTRAS = {"typer", "rich", "starlette", "uvicorn", "aiohttp", "httpx_aiohttp", "temporalio"}


def test_the_public_names_are_these() -> None:
    """``__all__`` lists exactly the public names, each once."""
    assert set(clanforge_async.__all__) == NAMES
    assert len(clanforge_async.__all__) == len(NAMES)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_public_name_can_be_imported(name: str) -> None:
    """Each public name can be imported and has a docstring."""
    value = getattr(clanforge_async, name)
    assert value.__doc__


def test_everything_else_is_a_module_or_private() -> None:
    """No public name is missing from ``__all__``."""
    others = {name for name in vars(clanforge_async) if not name.startswith("_")} - NAMES
    assert all(type(getattr(clanforge_async, name)).__name__ == "module" for name in others)


def test_the_package_is_typed() -> None:
    """The package contains ``py.typed``."""
    assert resources.files(clanforge_async).joinpath("py.typed").is_file()


def test_the_lazy_names_are_listed() -> None:
    """``dir`` and `inspect.getmembers` list the lazy names, and an unknown name raises with its name."""
    assert set(dir(clanforge_async)) >= NAMES
    assert dict(inspect.getmembers(clanforge_async)).keys() >= NAMES
    with pytest.raises(AttributeError, match="module 'clanforge_async' has no attribute 'JobWatchers'"):
        clanforge_async.JobWatchers  # type: ignore[attr-defined]  # noqa: B018


def packages_loaded_by(code: str) -> set[str]:
    """Return the packages loaded by all public names in a fresh interpreter, after running some code."""
    snapshot = "before = set(sys.modules); from clanforge_async import *"
    report = "json.dump(sorted(set(sys.modules) - before), sys.stdout)"
    script = f"import json, sys\n{code}\n{snapshot}\n{report}"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)  # noqa: S603 - this interpreter
    return {name.partition(".")[0] for name in json.loads(run.stdout)}


def test_the_names_load_no_extra() -> None:
    """Importing the public names loads no package of an extra."""
    # httpx loads rich for its own command line, if installed.
    loaded = packages_loaded_by("import httpx")
    assert "clanforge_async" in loaded
    assert not loaded & EXTRAS


def test_the_names_need_no_extra() -> None:
    """Without any extra installed, the public names can still be imported."""
    without = "; ".join(f"sys.modules[{name!r}] = None" for name in sorted(EXTRAS))
    assert "clanforge_async" in packages_loaded_by(without)
