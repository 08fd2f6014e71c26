from __future__ import annotations

import io
import sys

import pytest
from support.cli.harness import Clanforge

from clanforge_async.cli import main
from clanforge_async.simulator import Simulator

REFS = """
# the images of this release
image-version/1   # the server
image-diff/5@7\r
  image-version/1

"""


def give(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8"))


def test_references_are_read_from_stdin(
    simulator: Simulator, clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``-`` reads references from stdin, skips blank lines and comments, and watches each job once."""
    for job_id in (1, 2):
        simulator.add_image_version(job_id, duration=0)
    simulator.add_image_diff(5, duration=0)
    give(monkeypatch, REFS)
    finished = clanforge("watch", "image-version/2", "-", "image-version/1", "--json")
    assert finished.status == 0
    results = [record["ref"] for record in finished.records if record["event"] == "result"]
    assert sorted(results) == ["image-diff/5@7", "image-version/1", "image-version/2"]


def test_an_invalid_line_is_reported_with_its_number(clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """An invalid line of stdin is rejected with its number, before anything is watched."""
    give(monkeypatch, "image-version/1\n9012\n")
    finished = clanforge("watch", "-")
    assert finished.status == 2
    assert "line 2 of stdin is not a job reference: '9012' (expected image-diff/ID or image-version/ID" in finished.err


def test_undecodable_bytes_are_rejected(clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of stdin that cannot be decoded is rejected like any other invalid line."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\n"), encoding="utf-8"))
    finished = clanforge("watch", "-")
    assert finished.status == 2
    assert "line 1 of stdin is not a job reference" in finished.err


@pytest.mark.parametrize("text", ["", "# nothing changed\n\n"])
def test_an_empty_stdin_is_an_error(clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A stdin without references is an error, not a success."""
    give(monkeypatch, text)
    finished = clanforge("watch", "-", "-")
    assert finished.status == 2
    assert "there is nothing to watch: stdin holds no reference" in finished.err


def test_a_closed_stdin_is_empty(clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process without a stdin reads no references from it."""
    monkeypatch.setattr(sys, "stdin", None)
    assert clanforge("watch", "-").status == 2


@pytest.mark.parametrize(
    ("typed", "offered"), [("image-v", ["image-version/"]), ("", ["image-diff/", "image-version/"])]
)
def test_the_shell_completes_job_kinds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, typed: str, offered: list[str]
) -> None:
    """Shell completion offers the prefixes of references."""
    monkeypatch.setenv("_CLANFORGE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"clanforge watch {typed}")
    monkeypatch.setenv("COMP_CWORD", "2")
    with pytest.raises(SystemExit) as exited:
        main([])
    assert exited.value.code == 0
    assert capsys.readouterr().out.splitlines() == offered
