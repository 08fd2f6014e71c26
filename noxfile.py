"""Everything that checks this project; `nox -l` lists it."""

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
TEST_SERVER = "@microsoft.azure/autorest.testserver"
TEST_SERVER_VERSION = "3.3.51"
MEASURED = bool(os.environ.get("MEASURE_COVERAGE"))
"""Whether one run of the tests is to do what the session `coverage` does, so that CI needs no second one."""


def _works(interpreter: str) -> bool:
    # Version managers put launchers on the path for interpreters that they then refuse to run.
    path = shutil.which(interpreter)
    return path is not None and subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0  # noqa: S603


def _interpreters() -> list[str]:
    """Return every supported Python on this machine; the one that runs nox is always there."""
    wanted = [f"{OLDEST[0]}.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1)]
    found = [version for version in wanted if _works(f"python{version}")]
    if f"{sys.version_info.major}.{sys.version_info.minor}" not in found:
        found.append(sys.executable)
    return found


def _group(name: str) -> list[str]:
    return list(nox.project.dependency_groups(PYPROJECT, name))


@nox.session(python=_interpreters())
def tests(session: nox.Session) -> None:
    """Run the tests against the built package, on every supported Python that is found."""
    session.install(".[all]", *_group("tests"))
    if MEASURED and session.python == _interpreters()[0] and not session.posargs:
        _measure(session)
    else:
        session.run("pytest", "--numprocesses=auto", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests, and demand that they reach every line and branch."""
    session.install(".[all]", *_group("tests"))
    _measure(session)


def _measure(session: nox.Session) -> None:
    env = {"COVERAGE_FILE": str(Path(session.create_tmp()).resolve() / "coverage")}
    session.run("coverage", "erase", env=env)
    session.run("coverage", "run", "-m", "pytest", "--numprocesses=auto", env=env)
    session.run("coverage", "combine", "--quiet", env=env)
    session.run("coverage", "report", env=env)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install(*_group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types, and that users see all of them."""
    session.install("-e", ".[all]", *_group("types"), "nox")
    session.run("mypy")
    session.run("pyright")
    session.run("pyright", "--verifytypes", "clanforge_async", "--ignoreexternal")


@nox.session
def demo(session: nox.Session) -> None:
    """Run the main job, end to end."""
    session.install(".[cli,simulator]")
    session.run("clanforge", "demo")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure what is claimed of speed and thrift; arguments go to the benchmark."""
    session.install(".[all]", *_group("bench"))
    session.run("python", "-m", "bench", *session.posargs, env={"PYTHONPATH": "tests"})


@nox.session
def soak(session: nox.Session) -> None:
    """Watch thousands of jobs for minutes while everything fails; arguments go to the soak."""
    session.install(".[all]")
    session.run("python", "-m", "soak", *session.posargs, env={"PYTHONPATH": "tests"})


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
    """Change the code in small ways and see that tests fail; arguments are patterns of mutant names."""
    session.install(".[all]", *_group("tests"), *_group("mutants"))
    env = {"PYTHONPATH": "tests"}
    session.run("mutmut", "run", *session.posargs, env=env)
    session.run("python", "-m", "mutation", env=env)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the guides and the API reference; a warning is an error, and nothing is fetched."""
    session.install("-e", ".[all]", *_group("docs"))
    session.run("sphinx-build", "-W", "--keep-going", "-n", "-q", "-E", "docs", "docs/_build", *session.posargs)


@nox.session
def browser(session: nox.Session) -> None:
    """See in a real browser what is made for one; it needs Chromium, as in `apt-get install chromium`."""
    session.install(".[all]", *_group("browser"))
    session.run("pytest", "tests/browser", *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """Build the package, check what was built, and see that it works in an empty environment."""
    session.install(*_group("build"))
    wheel = _built(session)
    session.run(
        "python", "-m", "build", "--wheel", "--no-isolation", "--quiet", "--outdir", str(wheel.parent / "direct")
    )
    if wheel.read_bytes() != (wheel.parent / "direct" / wheel.name).read_bytes():
        session.error("the source distribution makes another wheel than the sources do")
    session.run("twine", "check", "--strict", *map(str, wheel.parent.glob("*.*")))
    session.run("check-wheel-contents", str(wheel))
    _try_installed(session, wheel)


@nox.session
def extras(session: nox.Session) -> None:
    """Install the built package into empty environments, once with each extra alone, and try what it brings."""
    session.install(*_group("backend"))
    wheel = _built(session)
    for extra in PYPROJECT["project"]["optional-dependencies"]:
        _try_installed(session, wheel, extra)


@nox.session
def sdist(session: nox.Session) -> None:
    """Run the tests from the source distribution, as distributors do; arguments go to pytest."""
    session.install(".[all]", *_group("backend"), *_group("tests"))
    (archive,) = _built(session).parent.glob("*.tar.gz")
    shutil.unpack_archive(archive, archive.parent, filter="data")
    with session.chdir(archive.parent / archive.name.removesuffix(".tar.gz")):
        session.run("pytest", "--numprocesses=auto", *session.posargs)


def _built(session: nox.Session) -> Path:
    """Build the source distribution and from that the wheel, which is returned."""
    dist = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.run("python", "-m", "build", "--no-isolation", "--quiet", "--outdir", str(dist))
    (wheel,) = dist.glob("*.whl")
    return wheel


def _try_installed(session: nox.Session, wheel: Path, extra: str | None = None) -> None:
    """Install a wheel into an empty environment, with one extra or none, and run what is to work there."""
    home = Path(session.create_tmp()).resolve() / f"with-{extra}"
    session.run("python", "-m", "venv", "--without-pip", "--clear", str(home))
    python = str(home / ("Scripts" if sys.platform == "win32" else "bin") / "python")
    wanted = f"{wheel}[{extra}]" if extra else str(wheel)
    session.run("python", "-m", "pip", "--python", python, "install", "--quiet", wanted)
    tests = Path("tests").resolve()
    check = tests / "packaging" / "installed_package.py"
    with session.chdir(home):
        session.run(
            python, "-W", "error", str(check), *filter(None, [extra]), env={"PYTHONPATH": str(tests)}, external=True
        )
