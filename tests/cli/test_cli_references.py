from __future__ import annotations

import codecs
import errno
import io
import sys
from contextlib import suppress

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from support.cli.harness import Clanforge

from clanforge_async.cli import main
from clanforge_async.cli.parsing import parse_refs
from clanforge_async.simulator import Simulator

REFS = """
# the images of this release
image-version/1   # the server
image-diff/5@7\r
  image-version/1

"""


def give(monkeypatch: pytest.MonkeyPatch, content: str | bytes) -> None:
    raw = content if isinstance(content, bytes) else content.encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw), encoding="cp1252"))  # as on Windows


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
    assert (
        "line 2 of stdin: '9012' is not a job reference; did you mean image-version/9012 or image-diff/9012"
        in finished.err
    )


def test_undecodable_bytes_are_rejected(clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of stdin that cannot be decoded is rejected like any other invalid line."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\n"), encoding="utf-8"))
    finished = clanforge("watch", "-")
    assert finished.status == 2
    assert "line 1 of stdin: this is not UTF-8" in finished.err


@pytest.mark.parametrize(
    "content",
    [
        codecs.BOM_UTF8 + b"image-version/1\r\nimage-version/2\r\n",
        codecs.BOM_UTF8 + b"# images\r\n\r\nimage-version/1\r\nimage-version/2",
        codecs.BOM_UTF8 + b"\nimage-version/1\n" + codecs.BOM_UTF8 + b"image-version/2\n",  # two files
        b"\rimage-version/1\rimage-version/2\r",
        "# M\N{LATIN SMALL LETTER U WITH DIAERESIS}nchen\nimage-version/1\nimage-version/2".encode("latin-1"),
        b"image-version/1\t# \x0b \x1c \xe2\x80\xa8 \xc2\x85\n \timage-version/2\x0c\n",
    ],
)
def test_references_come_in_any_file_of_ascii_or_utf_8(
    simulator: Simulator, clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """A byte order mark, any line endings and undecodable comments are accepted, whatever the locale."""
    for job_id in (1, 2):
        simulator.add_image_version(job_id, duration=0)
    give(monkeypatch, content)
    finished = clanforge("watch", "-", "--json", "--quiet")
    assert finished.status == 0
    assert sorted(record["ref"] for record in finished.records) == ["image-version/1", "image-version/2"]


def test_a_stdin_of_text_is_read(simulator: Simulator, clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that calls main() may replace stdin by a stream of text."""
    simulator.add_image_version(1, duration=0)
    monkeypatch.setattr(sys, "stdin", io.StringIO("\ufeff# images\r\nimage-version/1 # \ud800\n"))
    assert clanforge("watch", "-").status == 0


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("text", ["image-version/1\r\n", "\n# images\nimage-version/1\n", "#\n"])
def test_utf_16_is_refused(clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch, encoding: str, text: str) -> None:
    """UTF-16, the default of Windows PowerShell, is refused with a message that names it, with or without a BOM."""
    give(monkeypatch, text.encode(encoding))
    finished = clanforge("watch", "-")
    assert finished.status == 2
    [line] = finished.err.splitlines()
    assert "of stdin: this is not UTF-8, but looks like UTF-16" in line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"image-version/1\xe9\n", r"line 1 of stdin: not a job reference: 'image-version/1\\xe9'"),
        (b"image-version/1\n\0\n", "line 2 of stdin: this is not UTF-8"),
        (b"image-version/1\r9012\r", "line 2 of stdin: '9012' is not a job reference"),
        (b"image-version/1 \xef\xbb\xbf\n", r"line 1 of stdin: not a job reference: 'image-version/1 \ufeff'"),
        (b"image-version/" + b"9" * 5000, "line 1 of stdin: "),
        (b"image-version/1@" + b"9" * 12, "line 1 of stdin: not a time"),
        (codecs.BOM_UTF8, "there is nothing to watch: stdin contains no reference"),
        (codecs.BOM_UTF8 + b"# image-version/1\r\n", "there is nothing to watch: stdin contains no reference"),
        (b"\r\r\n\n", "there is nothing to watch: stdin contains no reference"),
    ],
)
def test_any_other_stdin_is_rejected_in_one_line(
    clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str
) -> None:
    """A stdin with any other content is a usage error, reported in one line."""
    give(monkeypatch, content)
    finished = clanforge("watch", "-")
    assert finished.status == 2
    [line] = finished.err.splitlines()
    assert message in line


@given(content=st.binary() | st.text().map(str.encode) | st.text().map(lambda text: text.encode("utf-16", "replace")))
def test_no_stdin_raises(content: bytes) -> None:
    """Whatever stdin contains, it is read or rejected."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        give(monkeypatch, content)
        with suppress(typer.BadParameter):
            parse_refs("-")


def test_an_unreadable_stdin_is_status_2(clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stdin that cannot be read, such as the terminal of a background process, is a usage error."""

    class Unreadable(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, _buffer: object, /) -> int:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Unreadable())))
    finished = clanforge("watch", "-")
    assert finished.status == 2
    assert "cannot read stdin: [Errno 5] Input/output error" in finished.err


def test_an_interruption_while_stdin_is_read_is_status_130(
    clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while stdin is read, which may be a terminal, exits with status 130 and without a message."""

    class Interrupted(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, _buffer: object, /) -> int:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Interrupted())))
    finished = clanforge("watch", "-")
    assert (finished.status, finished.out, finished.err) == (130, "", "")


@pytest.mark.parametrize("text", ["", "# nothing changed\n\n"])
def test_an_empty_stdin_is_an_error(clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A stdin without references is an error, not a success."""
    give(monkeypatch, text)
    finished = clanforge("watch", "-", "-")
    assert finished.status == 2
    assert "there is nothing to watch: stdin contains no reference" in finished.err


def test_a_closed_stdin_is_empty(clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process without a stdin reads no references from it."""
    monkeypatch.setattr(sys, "stdin", None)
    assert clanforge("watch", "-").status == 2


@pytest.mark.parametrize(
    ("typed", "offered"), [("image-v", ["image-version/"]), ("", ["image-update/", "image-diff/", "image-version/"])]
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
