"""``clanforge release`` on a terminal: the live view, the question, and a closed stdout."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import pytest
from support.cli.harness import Clanforge, Servers
from support.cli.terminal import Terminal, strip_control_codes

from clanforge_async.cli import main
from clanforge_async.cli.output.releases import PlainReleaseOutput
from clanforge_async.simulator import Simulator

RELEASE = ("release", "--image", "501", "--machine", "77", "--desc", "build 2", "--wait-for", "version")


class FakeStdin:
    """A stdin that only claims to be a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def images(simulator: Simulator, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A simulator with image 501 and a build of 50 files, whose jobs are completed as soon as they are created."""
    assert simulator.requests.count() == 0  # its environment is used, but not it
    images = Simulator(speed=100.0)
    images.add_image(501, game_id=12, files={"old": "1"}, machines=1, update_url="s3://key:secret@bucket/builds/")
    images.add_build_machine(77)
    images.builds["s3://bucket/builds/", "build 2"] = {f"file-{number:02}": "2" for number in range(50)}
    for kind in ("update", "diff", "version"):
        images.script(kind, *["completed"] * 9)
    with servers.serving(images) as base_url:
        monkeypatch.setenv("CLANFORGE_BASE_URL", base_url)
        yield images


def answer(monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
    """Answer the question with each of these in turn, then with the end of input."""
    left = list(answers)

    def read() -> str:
        if not left:
            raise EOFError
        return left.pop(0)

    monkeypatch.setattr("builtins.input", read)
    monkeypatch.setattr("sys.stdin", FakeStdin())


def test_a_terminal_shows_a_line_per_image(images: Simulator, terminal: Terminal) -> None:
    """A terminal shows each image with its step in one line, and finally its outcome."""
    with terminal.as_stdout():
        assert main([*RELEASE, "--yes"]) == 0
    terminal.wait_for("requests")
    shown = "".join(strip_control_codes(terminal.shown))
    assert "IMAGE  STEP" in shown
    assert re.search(
        r"501    version 5/6  released  \d+s  image-version/\d+1 image, \d+s: 1 released; 8 requests", shown
    )
    assert images.image(501).version > 218000


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(
    images: Simulator, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dumb terminal gets plain lines."""
    assert images.image(501).lock is None
    monkeypatch.setenv("TERM", "dumb")
    answer(monkeypatch, "y")
    with terminal.as_stdout():
        assert main(RELEASE) == 0
    terminal.wait_for("501  released")
    assert "501  check  started" in terminal.shown


@pytest.fixture
def ask(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Run a command on a terminal, answer its question, and return its status and stderr."""

    def run(answers: Sequence[str], *argv: str) -> tuple[int, str]:
        answer(monkeypatch, *answers)
        with terminal.as_stdout():
            status = main(argv)
        return status, capsys.readouterr().err

    return run


@pytest.mark.parametrize(("answers", "status"), [(("perhaps", "Y"), 0), (("no",), 1), ((), 2)])
def test_the_question_lists_the_files(
    images: Simulator, ask: Callable[..., tuple[int, str]], answers: tuple[str, ...], status: int
) -> None:
    """At most 40 files are listed before the question; without an answer, the release can be resumed."""
    got, err = ask(answers, *RELEASE)
    assert got == status
    assert "51 files differ" in err
    assert "+ file-39" in err
    assert "+ file-40" not in err
    assert "... and 11 more" in err
    assert ("Resume with: clanforge release resume" in err) is (status == 2)
    assert (images.image(501).version != 218000) is (status == 0)


def test_the_question_is_asked_besides_a_report(
    images: Simulator, ask: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    """The live view makes room for the question, and a report is written nevertheless."""
    page = tmp_path / "page.html"
    assert ask(["y"], *RELEASE, "--report", str(page))[0] == 0
    assert "1 image: 1 released" in page.read_text("utf-8")
    assert images.image(501).version > 218000


def test_the_question_is_asked_besides_json(images: Simulator, ask: Callable[..., tuple[int, str]]) -> None:
    """The question and the files go to stderr, so that stdout has only JSON."""
    assert ask(["y"], *RELEASE, "--json")[0] == 0
    assert images.image(501).version > 218000


def test_a_closed_stdout_is_status_141(
    images: Simulator, clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed stdout ends the command with 141 and the tokens to resume with."""

    def fail(_output: PlainReleaseOutput, event: object) -> NoReturn:
        raise BrokenPipeError(str(event))

    monkeypatch.setattr(PlainReleaseOutput, "release_event", fail)
    monkeypatch.setattr("clanforge_async.cli.run.discard", lambda _stream: None)
    finished = clanforge(*RELEASE, "--yes")
    assert finished.status == 141
    assert images.requests.count("image-version create") == 0
