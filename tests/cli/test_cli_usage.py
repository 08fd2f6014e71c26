from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata

import pytest
from support.cli.harness import Clanforge, Spawn

from clanforge_async.cli import main

WATCH_COMMANDS = [("image-diff", "retry"), ("image-update", "retry"), ("watch",)]
STATUS_COMMANDS = [("image-version", "status"), ("image-diff", "status"), ("image-update", "status"), ("status",)]
JOB_COMMANDS = [*WATCH_COMMANDS, *STATUS_COMMANDS]
CALL_COMMANDS = [
    *(("image", "options"), ("image", "status"), ("image", "activate"), ("image", "deactivate")),
    *(("image-diff", "reject"), ("image-install", "list"), ("image-install", "queue")),
]


def test_version_is_printed(clanforge: Clanforge) -> None:
    """--version prints the name and the version."""
    finished = clanforge("--version")
    assert (finished.status, finished.out) == (0, f"clanforge {metadata.version('clanforge-async')}\n")


VENDORED = """
import sys
from importlib import metadata

def find(name):
    raise metadata.PackageNotFoundError(name)

metadata.version = find
from clanforge_async.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize(("option", "line"), [("--version", "clanforge 0+unknown"), ("--help", "Commands:")])
def test_a_vendored_copy_needs_no_metadata(spawn: Spawn, option: str, line: str) -> None:
    """Without installed metadata the version is unknown, and all else works."""
    process = spawn(option, code=VENDORED)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert line in out.splitlines()


def test_the_installed_program_returns_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    """The function that the installed program calls returns the exit status."""
    monkeypatch.delitem(sys.modules, "temporalio", raising=False)
    monkeypatch.setattr(sys, "argv", ["clanforge", "watch"])
    [program] = metadata.entry_points(group="console_scripts", name="clanforge")
    assert program.load()() == 2


WITH_TEMPORAL = """
import atexit, os, sys, types

class Finalized:
    def __del__(self):
        os.write(1, b"finalized")

finalized = Finalized()
atexit.register(os.write, 1, b"exit function")
sys.modules["temporalio"] = types.ModuleType("temporalio")
from clanforge_async.__main__ import run
sys.exit(run())
"""


def test_the_program_ends_before_threads_of_temporal_can_abort_it(spawn: Spawn) -> None:
    """If Temporal's SDK is loaded, the program calls exit functions, but skips Python's finalization."""
    process = spawn("--version", code=WITH_TEMPORAL)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert out == f"clanforge {metadata.version('clanforge-async')}\nexit function"


@pytest.mark.parametrize("argv", [["--version"], ["--help"], ["watch", "--help"], []])
def test_help_that_no_one_reads_is_status_141(argv: list[str]) -> None:
    """With a closed pipe, help and version exit with status 141 and without a message."""
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "clanforge_async", *argv], stdout=writer, stderr=subprocess.PIPE, check=False, timeout=20
    )
    os.close(writer)
    assert (process.returncode, process.stderr) == (141, b"")


def test_an_unexpected_exception_is_status_7_with_a_traceback(
    clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug is reported with a traceback and status 7; Python's status 1 would mean a failed job."""

    def fail(_argument: object) -> None:
        msg = "unforeseen \x1b[2J"
        raise RuntimeError(msg)

    monkeypatch.setattr("clanforge_async.cli.run.parse", fail)
    finished = clanforge("watch", "image-diff/5")
    assert finished.status == 7
    first, *_, last = finished.err.splitlines()
    assert first == "error: unexpected RuntimeError, a bug in clanforge-async:"
    assert last == r"RuntimeError: unforeseen \x1b[2J"


def test_a_process_without_stderr_prints_no_messages_to_stdout(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If stderr is closed, messages are dropped, so that stdout has only results."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", None)
        status = main(["watch", "nonsense"])
    assert (status, capsys.readouterr().out) == (2, "")


def test_the_package_is_executable(spawn: Spawn) -> None:
    """``python -m clanforge_async`` runs ``clanforge``."""
    process = spawn("--version")
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert out.startswith("clanforge ")


def test_no_command_prints_help_with_status_2(clanforge: Clanforge) -> None:
    """Without a command, help is printed with status 2."""
    finished = clanforge()
    assert finished.status == 2
    assert "Commands:" in finished.out


@pytest.mark.parametrize("command", [*JOB_COMMANDS, *CALL_COMMANDS])
def test_every_command_has_connection_options_and_none_for_credentials(
    clanforge: Clanforge, command: tuple[str, ...]
) -> None:
    """Base URL and account can be passed as options; credentials cannot, since command lines are public."""
    finished = clanforge(*command, "--help")
    assert finished.status == 0
    for option in ("--base-url", "--account-service-id", "--json"):
        assert option in finished.out
    for secret in ("key", "token", "secret"):
        assert secret not in finished.out.lower()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["watch"], "Missing argument"),
        (["watch", "image-diff/5", "image-dif/6"], "not a job reference: 'image-dif/6'"),
        (["watch", "image-diff/0"], "must be positive"),
        (["watch", "image-diff/5\x1b[31m"], r"'image-diff/5\x1b[31m'"),
        (["watch", "image-diff/5", "--timeout", "soon"], "'soon' is not a duration such as 45s, 90m, 1h30m"),
        (["watch", "image-diff/5", "--timeout", "-1"], "'-1' is not a duration such as 45s, 90m, 1h30m"),
        (["watch", "image-diff/5", "--interval", "nan"], "'nan' is not a duration such as 45s, 90m, 1h30m"),
        (["watch", "image-diff/5", "--interval", "inf"], "'inf' is not a duration such as 45s, 90m, 1h30m"),
        (["watch", "image-diff/5", "--access-key", "k"], "No such option"),
        (["image-diff"], "Missing command"),
        (["image-diff", "status", "five"], "'ID'"),
        (["image-diff", "retry", "0"], "'ID'"),
        (["image-version", "retry", "5"], "No such command 'retry'"),
        (["image", "status", "0"], "'ID'"),
        (["image-install", "list", "--version", "-1"], "'--version'"),
        (["simulate", "--port", "70000"], "--port"),
        (["simulate", "--speed", "fast"], "'fast' is not a positive number"),
        (["simulate", "--speed", "-1"], "'-1' is not a positive number"),
        (["watch", "image-diff/5", "--report", "/no/such/folder/page.html"], "there is no folder /no/such/folder"),
        (["watch", "image-diff/5", "--report", "/dev/null"], "cannot write /dev/null: not a regular file"),
    ],
)
def test_a_usage_error_is_one_line_with_status_2(clanforge: Clanforge, argv: list[str], message: str) -> None:
    """Wrong arguments are reported in one line that names the help, with status 2."""
    finished = clanforge(*argv)
    assert finished.status == 2
    assert finished.out == ""
    [line] = finished.err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert "--help'" in line


def test_missing_credentials_are_status_2(clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing credentials are a usage error that names the variables to set."""
    for name in ("CLANFORGE_ACCESS_KEY", "CLANFORGE_SECRET_KEY", "CLANFORGE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    finished = clanforge("watch", "image-diff/5")
    assert finished.status == 2
    assert finished.err == (
        "error: no credentials: set CLANFORGE_ACCESS_KEY and CLANFORGE_SECRET_KEY, or CLANFORGE_TOKEN\n"
    )


@pytest.mark.parametrize(
    ("variable", "value", "hint"),
    [
        ("CLANFORGE_ACCOUNT_SERVICE_ID", "", "pass --account-service-id or set CLANFORGE_ACCOUNT_SERVICE_ID"),
        ("CLANFORGE_BASE_URL", "nonsense", "pass --base-url or set CLANFORGE_BASE_URL"),
    ],
)
def test_a_wrong_setting_is_reported_with_its_option(
    clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, hint: str
) -> None:
    """A wrong setting is reported with its option and its variable."""
    for name in ("CLANFORGE_TOKEN", "CLANFORGE_BASE_URL", "CLANFORGE_ACCOUNT_SERVICE_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLANFORGE_ACCESS_KEY", "key")
    monkeypatch.setenv("CLANFORGE_SECRET_KEY", "secret")
    if value:
        monkeypatch.setenv(variable, value)
    finished = clanforge("watch", "image-diff/5")
    assert finished.status == 2
    [line] = finished.err.splitlines()
    assert line.endswith(hint)


def test_help_lists_the_exit_statuses(clanforge: Clanforge) -> None:
    """The help of a command that may wait for jobs lists the exit statuses."""
    for command in WATCH_COMMANDS:
        text = " ".join(clanforge(*command, "--help").out.split())
        assert "Exit status: 0 all completed, 1 failed" in text
        numbers = re.findall(r"\b\d+\b", text.partition("Exit status: ")[2])
        assert numbers == [*"01234567", "129", "130", "143"]


def test_help_of_a_status_lists_its_exit_statuses(clanforge: Clanforge) -> None:
    """The help of a command that reads the status of jobs says that 0 means: read, and not failed."""
    for command in STATUS_COMMANDS:
        text = " ".join(clanforge(*command, "--help").out.split())
        assert "Exit status: 0 read, and not failed, 1 failed or squashed" in text
        assert "3 timeout" not in text


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (("release", "resume", "x", "--yes"), "not a release token: 'x'; see 'clanforge release resume --help'"),
        (("release", "abort", "x"), "not a release token: 'x'; see 'clanforge release abort --help'"),
        (("release", "--desc", "x"), "see 'clanforge release --help'"),
        (("watch", "--fail"), "see 'clanforge watch --help'"),
    ],
)
@pytest.mark.usefixtures("simulator")
def test_a_wrong_usage_names_the_command(clanforge: Clanforge, argv: tuple[str, ...], line: str) -> None:
    """An error of usage ends with the command whose help to read, also if it is found while the command runs."""
    finished = clanforge(*argv)
    assert finished.status == 2
    assert finished.err.rstrip().endswith(line)
    assert "Invalid value: " not in finished.err


ALL_COMMANDS: list[tuple[str, ...]] = [
    (),
    *JOB_COMMANDS,
    *CALL_COMMANDS,
    *(("doctor",), ("worker",), ("simulate",), ("demo",), ("release",), ("release", "resume"), ("release", "abort")),
]


def test_help_has_none_of_the_parsers_additions(clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """The help shows no type of Python, no range and no text that is cut off, and fits 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    for command in ALL_COMMANDS:
        text = clanforge(*command, "--help").out
        assert max(map(len, text.splitlines())) <= 80
        assert not re.search(r"<\w|list\[|range|[<>]=|\{|[a-z,]\.\.\.$", text, re.MULTILINE)


def test_help_of_a_single_call_lists_its_exit_statuses(clanforge: Clanforge) -> None:
    """The help of a command that makes one call lists its possible exit statuses, without those of jobs."""
    for command in [*CALL_COMMANDS, ("doctor",)]:
        text = " ".join(clanforge(*command, "--help").out.split())
        numbers = re.findall(r"\b\d+\b", text.partition("Exit status: ")[2])
        assert numbers == [*"024567", "129", "130", "143"]
