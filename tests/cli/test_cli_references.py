from __future__ import annotations

import io
import sys

import pytest
from support.cli.harness import Clanforge

from clanforge_async.cli import main
from clanforge_async.simulator import Simulator

LISTED = """
# the images of this release
image-version/1   # the server
image-diff/5@7\r
  image-version/1

"""


def give(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8"))


def test_references_come_from_stdin_too(
    simulator: Simulator, clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A - stands for the lines of stdin; blank ones and comments are skipped, and each job is watched once."""
    for job_id in (1, 2):
        simulator.add_image_version(job_id, duration=0)
    simulator.add_image_diff(5, duration=0)
    give(monkeypatch, LISTED)
    finished = clanforge("watch", "image-version/2", "-", "image-version/1", "--json")
    assert finished.status == 0
    results = [record["ref"] for record in finished.records if record["event"] == "result"]
    assert sorted(results) == ["image-diff/5@7", "image-version/1", "image-version/2"]


def test_a_line_that_is_no_reference_is_named(clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong line is refused with its number, before anything is watched."""
    give(monkeypatch, "image-version/1\n9012\n")
    finished = clanforge("watch", "-")
    assert finished.status == 2
    assert "line 2 of stdin is not a job reference: '9012' (expected image-diff/ID or image-version/ID" in finished.err


def test_characters_that_are_no_text_are_no_reference(clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be decoded is refused like any other wrong line."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\n"), encoding="utf-8"))
    finished = clanforge("watch", "-")
    assert finished.status == 2
    assert "line 1 of stdin is not a job reference" in finished.err


@pytest.mark.parametrize("text", ["", "# nothing changed\n\n"])
def test_an_empty_list_is_no_success(clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A pipeline that lists nothing to watch is more likely broken than done."""
    give(monkeypatch, text)
    finished = clanforge("watch", "-", "-")
    assert finished.status == 2
    assert "there is nothing to watch: stdin holds no reference" in finished.err


def test_a_stdin_that_is_closed_holds_nothing(clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that was started without a stdin can be told that there is nothing in it."""
    monkeypatch.setattr(sys, "stdin", None)
    assert clanforge("watch", "-").status == 2


@pytest.mark.parametrize(
    ("typed", "offered"), [("image-v", ["image-version/"]), ("", ["image-diff/", "image-version/"])]
)
def test_the_shell_completes_the_kinds_of_jobs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, typed: str, offered: list[str]
) -> None:
    """Completion, once it is installed in a shell, knows how references begin."""
    monkeypatch.setenv("_CLANFORGE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"clanforge watch {typed}")
    monkeypatch.setenv("COMP_CWORD", "2")
    with pytest.raises(SystemExit) as exited:
        main([])
    assert exited.value.code == 0
    assert capsys.readouterr().out.splitlines() == offered
