from __future__ import annotations

import io
import sys

import pytest
from support.cli.harness import Clanforge, Says

from clanforge_async.cli.formatting import escape, escape_and_truncate
from clanforge_async.simulator import Envelope, Simulator

HOSTILE = "\x1b[31m\x1b]0;owned\x07 a\nb\rc \x9b2J \u202egnp.exe\u2066 \x7f [red]"
HARMLESS = r"\x1b[31m\x1b]0;owned\x07 a\nb\rc \x9b2J \u202egnp.exe\u2066 \x7f [red]"


def test_what_does_not_print_is_written_out() -> None:
    """Control characters, line ends, C1 controls, marks of direction and lone surrogates are shown, never sent."""
    assert escape(HOSTILE) == HARMLESS
    assert escape(HARMLESS) == HARMLESS
    assert escape("\ud800") == r"\ud800"
    assert escape("naïve ✓ 中文") == "naïve ✓ 中文"


def test_a_page_is_not_shown_whole() -> None:
    """A foreign text is cut where nobody would read on."""
    assert escape_and_truncate("x" * 5000) == "x" * 1000 + "..."
    assert escape_and_truncate(HOSTILE) == HARMLESS


@pytest.mark.parametrize("argv", [("image-version", "status", "1"), ("watch", "image-version/1")])
def test_a_hostile_job_reaches_no_terminal(simulator: Simulator, clanforge: Clanforge, argv: tuple[str, ...]) -> None:
    """An error message of a job is escaped in plain lines and on stderr."""
    simulator.add_image_version(1, duration=0, outcome="failed", error=HOSTILE)
    finished = clanforge(*argv)
    assert len(finished.lines) == 1
    assert finished.out.endswith(f": {HARMLESS}\n")
    assert finished.err == f"error: image-version/1 failed: {HARMLESS}\n"


def test_a_hostile_job_is_exact_and_harmless_in_json(simulator: Simulator, clanforge: Clanforge) -> None:
    """JSON gives a program the text as it was, in escapes that a terminal does not obey."""
    simulator.add_image_version(1, duration=0, outcome="failed", error=HOSTILE)
    finished = clanforge("watch", "image-version/1", "--json")
    update, result = finished.records
    assert update["error"] == HOSTILE
    assert result["error"].endswith(HOSTILE)
    assert finished.out.replace("\n", "").isprintable()
    assert finished.out.isascii()


def test_a_hostile_state_reaches_no_terminal(simulator: Simulator, clanforge: Clanforge) -> None:
    """The name of an unknown state is escaped, and so is the warning about it."""
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(Says({"jobstateid": 99, "jobstatename": "\x1b[2J[red]"}), times=1)
    finished = clanforge("watch", "image-version/1", "--interval", "0.05")
    assert finished.lines[0].startswith(r"image-version/1  \x1b[2J[red]  ")
    assert finished.err.replace("\n", "").isprintable()


def test_a_hostile_error_reaches_no_terminal(simulator: Simulator, clanforge: Clanforge) -> None:
    """The server's error message is escaped."""
    simulator.faults.add(Envelope(HOSTILE, status=404))
    finished = clanforge("image-version", "status", "1")
    assert finished.err.startswith(f"error: {HARMLESS} (HTTP 404")
    assert len(finished.err.splitlines()) == 1


def test_no_character_is_too_much_for_a_stream(
    simulator: Simulator, clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stdout's encoding cannot hold is written out, not raised."""
    simulator.add_image_version(1, duration=0, outcome="failed", error="kein Platz für ✓")
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert clanforge("image-version", "status", "1").status == 1
    assert written.getvalue().endswith(rb"kein Platz f\xfcr \u2713" + b"\n")


def test_streams_may_be_anything(simulator: Simulator, clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stdout that was replaced, or closed before the start, is no reason to fail."""
    simulator.add_image_version(1, duration=0)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert clanforge("watch", "image-version/1").status == 0
    monkeypatch.setattr(sys, "stdout", None)
    assert clanforge("watch", "image-version/1").status == 0
