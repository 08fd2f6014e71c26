"""Sessions that check, build and measure this project; `nox -l` lists them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "tests", "coverage"]
nox.options.error_on_external_run = True

PYPROJECT = nox.project.load_toml("pyproject.toml")
OLDEST = (3, 11)
NEWEST = (3, 15)
MEASURE_COVERAGE = bool(os.environ.get("MEASURE_COVERAGE"))
"""Whether the first `tests` session also measures coverage, which saves CI a second run."""
TEST_SERVER = "@microsoft.azure/autorest.testserver"
TEST_SERVER_VERSION = "3.3.51"
TEST_WHEEL_FROM = os.environ.get("TEST_WHEEL_FROM")
"""Folder of a wheel that `tests` installs instead of the source tree, to test the same file that is released."""
IN_PARALLEL = ("--numprocesses=auto", "--dist=worksteal")
"""Options of pytest that keep all cores busy: a process without tests takes some from a slower one."""


def _runs(interpreter: str) -> bool:
    # A version manager's shim is on PATH even if its interpreter is not installed.
    path = shutil.which(interpreter)
    return path is not None and subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0  # noqa: S603


def _interpreters() -> list[str]:
    """Return the supported Python versions on this machine, including the one that runs nox."""
    supported = [f"{OLDEST[0]}.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1)]
    found = [version for version in supported if _runs(f"python{version}")]
    if f"{sys.version_info.major}.{sys.version_info.minor}" not in found:
        found.append(sys.executable)
    return found


def _group(name: str) -> list[str]:
    return list(nox.project.dependency_groups(PYPROJECT, name))


def _package() -> str:
    if TEST_WHEEL_FROM is None:
        return ".[all]"
    (wheel,) = Path(TEST_WHEEL_FROM).glob("*.whl")
    return f"{wheel}[all]"


@nox.session(python=_interpreters())
def tests(session: nox.Session) -> None:
    """Run the tests against the installed package, on each supported Python that is found."""
    session.install(_package(), *_group("tests"))
    if MEASURE_COVERAGE and session.python == _interpreters()[0] and not session.posargs:
        _run_with_coverage(session)
    else:
        session.run("pytest", *IN_PARALLEL, *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests and fail unless they cover every line and branch."""
    session.install(".[all]", *_group("tests"))
    _run_with_coverage(session)


def _run_with_coverage(session: nox.Session) -> None:
    env = {"COVERAGE_FILE": str(Path(session.create_tmp()).resolve() / "coverage")}
    session.run("coverage", "erase", env=env)
    session.run("coverage", "run", "-m", "pytest", *IN_PARALLEL, env=env)
    session.run("coverage", "combine", "--quiet", env=env)
    session.run("coverage", "report", env=env)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting, spelling, pyproject.toml and the workflows; nothing is fetched."""
    session.install(*_group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("codespell")
    session.run("validate-pyproject", "pyproject.toml")
    session.run("zizmor", "--offline", "--quiet", ".github")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types, and that all public names have one."""
    session.install("-e", ".[all]", *_group("types"), "nox")
    session.run("mypy")
    session.run("pyright")
    session.run("pyright", "--verifytypes", "clanforge_async", "--ignoreexternal")


@nox.session
def demo(session: nox.Session) -> None:
    """Run the demo end to end."""
    session.install(".[cli,simulator]")
    session.run("clanforge", "demo")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure detection delay, requests, CPU and memory; arguments go to the benchmark."""
    session.install(".[all]", *_group("bench"))
    session.run("python", "-m", "bench", *session.posargs, env={"PYTHONPATH": "tests"})


@nox.session
def soak(session: nox.Session) -> None:
    """Watch thousands of jobs for minutes under injected faults; arguments go to the soak test."""
    session.install(".[all]")
    session.run("python", "-m", "soak", *session.posargs, env={"PYTHONPATH": "tests"})


@nox.session
def worlds(session: nox.Session) -> None:
    """Check the invariants in thousands of random worlds; `--seed` replays one, `--worlds` says how many."""
    session.install(".[all]", *_group("tests"))
    session.run("python", "-m", "properties", *session.posargs, env={"PYTHONPATH": "tests"})


@nox.session
def conformance(session: nox.Session) -> None:
    """Watch a public suite of long-running operations; it needs Node 18 or newer, and installs the suite with npm."""
    if not (shutil.which("node") and shutil.which("npm")):
        session.skip("node or npm is not on the path")
    session.install(".[all]")
    home = Path(session.create_tmp()).resolve()
    options = ("--prefix", str(home), "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
    session.run("npm", "install", *options, f"{TEST_SERVER}@{TEST_SERVER_VERSION}", external=True)
    package = home / "node_modules" / TEST_SERVER
    session.run("python", "-m", "conformance", "--server", str(package), env={"PYTHONPATH": "tests"})


@nox.session
def mutants(session: nox.Session) -> None:
    """Run mutation tests; arguments are patterns of mutant names."""
    session.install(".[all]", *_group("tests"), *_group("mutants"))
    env = {"PYTHONPATH": "tests"}
    session.run("mutmut", "run", *session.posargs, env=env)
    session.run("python", "-m", "mutation", env=env)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the guides and the API reference; warnings are errors, and nothing is fetched."""
    session.install("-e", ".[all]", *_group("docs"))
    session.run("sphinx-build", "-W", "--keep-going", "-n", "-q", "-E", "docs", "docs/_build", *session.posargs)


@nox.session
def browser(session: nox.Session) -> None:
    """Test the HTML pages in a real browser; needs Chromium, as from `apt-get install chromium`."""
    session.install(".[all]", *_group("browser"))
    session.run("pytest", "tests/browser", *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """Build the packages, check them, and try the wheel in an empty environment."""
    session.install(*_group("build"))
    wheel = _build_packages(session)
    session.run(
        "python", "-m", "build", "--wheel", "--no-isolation", "--quiet", "--outdir", str(wheel.parent / "direct")
    )
    if wheel.read_bytes() != (wheel.parent / "direct" / wheel.name).read_bytes():
        session.error("the wheel built from the source distribution differs from the one built from the tree")
    session.run("twine", "check", "--strict", *map(str, wheel.parent.glob("*.*")))
    session.run("check-wheel-contents", str(wheel))
    _smoke_test(session, wheel)


@nox.session
def extras(session: nox.Session) -> None:
    """Try the wheel in an empty environment, once with each extra alone."""
    session.install(*_group("backend"))
    wheel = _build_packages(session)
    for extra in PYPROJECT["project"]["optional-dependencies"]:
        _smoke_test(session, wheel, extra)


@nox.session
def sdist(session: nox.Session) -> None:
    """Run the tests from the unpacked source distribution; arguments go to pytest."""
    session.install(".[all]", *_group("backend"), *_group("tests"))
    (archive,) = _build_packages(session).parent.glob("*.tar.gz")
    shutil.unpack_archive(archive, archive.parent, filter="data")
    with session.chdir(archive.parent / archive.name.removesuffix(".tar.gz")):
        session.run("pytest", *IN_PARALLEL, *session.posargs)


def _build_packages(session: nox.Session) -> Path:
    """Build the source distribution, build the wheel from it, and return the wheel."""
    dist = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.run("python", "-m", "build", "--no-isolation", "--quiet", "--outdir", str(dist))
    (wheel,) = dist.glob("*.whl")
    return wheel


def _smoke_test(session: nox.Session, wheel: Path, extra: str | None = None) -> None:
    """Install a wheel into an empty environment, with one extra or none, and run its smoke test."""
    home = Path(session.create_tmp()).resolve() / f"with-{extra}"
    session.run("python", "-m", "venv", "--without-pip", "--clear", str(home))
    python = str(home / ("Scripts" if sys.platform == "win32" else "bin") / "python")
    requirement = f"{wheel}[{extra}]" if extra else str(wheel)
    session.run("python", "-m", "pip", "--python", python, "install", "--quiet", requirement)
    tests = Path("tests").resolve()
    check = tests / "packaging" / "installed_package.py"
    with session.chdir(home):
        session.run(
            python, "-W", "error", str(check), *filter(None, [extra]), env={"PYTHONPATH": str(tests)}, external=True
        )
