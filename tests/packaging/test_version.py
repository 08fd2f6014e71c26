"""The package's version. The package also works without metadata."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

import clanforge_async
from clanforge_async._http import version as version_module


@pytest.fixture
def no_metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    with monkeypatch.context() as patch:
        patch.setattr(metadata, "version", version)
        yield
    importlib.reload(version_module)


def test_the_version_is_that_of_the_distribution() -> None:
    """``__version__`` is the version of the installed distribution."""
    assert clanforge_async.__version__ == metadata.version("clanforge-async")


@pytest.mark.usefixtures("no_metadata")
def test_without_metadata_the_version_is_unknown() -> None:
    """A package without metadata still has a valid version."""
    assert importlib.reload(version_module).__version__ == "0+unknown"


@pytest.mark.parametrize(
    ("program", "output"),
    [
        ("import clanforge_async as c; print(c.__version__, c.JobRef.image_diff(1), c.ClanforgeClient.__name__)", "1"),
        ("from clanforge_async.cli import main; raise SystemExit(main(['--version']))", "clanforge 0+unknown"),
        ("from clanforge_async.cli import main; raise SystemExit(main(['--help']))", "Usage: clanforge"),
    ],
    ids=["package", "version", "help"],
)
def test_a_vendored_copy_works(program: str, output: str, tmp_path: Path) -> None:
    """A copy of the package works without the distribution's metadata, and so does its command."""
    copy = tmp_path / "clanforge_async"
    shutil.copytree(Path(clanforge_async.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    hide = (
        "from importlib import metadata; real = metadata.distribution\n"
        "def distribution(name):\n"
        "    if name.startswith('clanforge'): raise metadata.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "metadata.distribution = distribution\n"
    )
    run = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", hide + program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert output in run.stdout
