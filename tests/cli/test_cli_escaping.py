from __future__ import annotations

import io
import sys

import pytest
from support.cli.harness import Clanforge, OverrideFields

from clanforge_async.cli.formatting import escape, escape_and_truncate
from clanforge_async.simulator import Envelope, Simulator

HOSTILE = "\x1b[31m\x1b]0;owned\x07 a\nb\rc \x9b2J \u202egnp.exe\u2066 \x7f [red]"
ESCAPED = r"\x1b[31m\x1b]0;owned\x07 a\nb\rc \x9b2J \u202egnp.exe\u2066 \x7f [red]"


def test_unprintable_characters_are_escaped() -> None:
    """Control characters, line ends, direction marks and lone surrogates are escaped; others are not."""
    assert escape(HOSTILE) == ESCAPED
    assert escape(ESCAPED) == ESCAPED
    assert escape("\ud800") == r"\ud800"
    assert escape("naïve ✓ 中文") == "naïve ✓ 中文"


def test_a_long_text_is_truncated() -> None:
    """A text from the server is cut after 1,000 characters."""
    assert escape_and_truncate("x" * 5000) == "x" * 1000 + "..."
    assert escape_and_truncate(HOSTILE) == ESCAPED


@pytest.mark.parametrize("argv", [("image-version", "status", "1"), ("watch", "image-version/1")])
def test_the_error_of_a_job_is_escaped(simulator: Simulator, clanforge: Clanforge, argv: tuple[str, ...]) -> None:
    """The error of a job is escaped in plain lines, and with --quiet on stderr."""
    simulator.add_image_version(1, duration=0, outcome="failed", error=HOSTILE)
    finished = clanforge(*argv)
    assert len(finished.lines) == 1
    assert finished.out.endswith(f": {ESCAPED}\n")
    assert finished.err == "error: image-version/1 failed\n"
    assert clanforge(*argv, "--quiet").err == f"error: image-version/1 failed: {ESCAPED}\n"


def test_json_has_the_exact_error_in_ascii(simulator: Simulator, clanforge: Clanforge) -> None:
    """JSON has the exact error of a job, escaped to printable ASCII."""
    simulator.add_image_version(1, duration=0, outcome="failed", error=HOSTILE)
    finished = clanforge("watch", "image-version/1", "--json")
    update, result = finished.records
    assert update["error"] == HOSTILE
    assert result["error"].endswith(HOSTILE)
    assert finished.out.replace("\n", "").isprintable()
    assert finished.out.isascii()


def test_the_name_of_an_unknown_state_is_escaped(simulator: Simulator, clanforge: Clanforge) -> None:
    """The name of an unknown state is escaped in the output and in the warning."""
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(OverrideFields({"jobstateid": 99, "jobstatename": "\x1b[2J[red]"}), times=1)
    finished = clanforge("watch", "image-version/1", "--interval", "0.05")
    assert finished.lines[0].startswith(r"image-version/1  \x1b[2J[red]  ")
    assert finished.err.replace("\n", "").isprintable()


def test_an_error_of_the_server_is_escaped(simulator: Simulator, clanforge: Clanforge) -> None:
    """The server's error message is escaped."""
    simulator.faults.add(Envelope(HOSTILE, status=404))
    finished = clanforge("image-version", "status", "1")
    assert finished.err.startswith(f"error: {ESCAPED} (HTTP 404")
    assert len(finished.err.splitlines()) == 1


def test_unencodable_characters_are_escaped(
    simulator: Simulator, clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Characters that stdout cannot encode are escaped, and raise no error."""
    simulator.add_image_version(1, duration=0, outcome="failed", error="kein Platz für ✓")
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert clanforge("image-version", "status", "1").status == 1
    assert written.getvalue().endswith(rb"kein Platz f\xfcr \u2713" + b"\n")


def test_stdout_may_be_replaced_or_closed(
    simulator: Simulator, clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command succeeds with a replaced stdout, and with a closed one."""
    simulator.add_image_version(1, duration=0)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert clanforge("watch", "image-version/1").status == 0
    monkeypatch.setattr(sys, "stdout", None)
    assert clanforge("watch", "image-version/1").status == 0
