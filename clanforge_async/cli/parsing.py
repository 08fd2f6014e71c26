"""Parsers of the values of arguments and options."""

from __future__ import annotations

import codecs
import math
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import typer

from clanforge_async.cli.formatting import parse_duration
from clanforge_async.refs import JobKind, JobRef

STDIN = "-"
"""Argument that means the references on stdin."""
_UTF16_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_DIGITS = re.compile(r"[0-9]{1,19}", re.ASCII)
_LARGEST_ID, _LARGEST_PORT, _MOST_JOBS, _MOST_RETRIES = 10**19 - 1, 65535, 100_000, 1000
_ZEROS = frozenset({"0", "0s", "0m", "0h", "0d"})


def parse_refs(argument: str) -> list[JobRef]:
    """Return the reference in an argument; if that is ``-``, the references on stdin, one a line.

    Raises:
        typer.BadParameter: An invalid reference.
    """
    return list(_read_stdin()) if argument == STDIN else [_parse_ref(argument)]


def flatten_refs(groups: Sequence[Sequence[JobRef]] | None) -> list[JobRef]:
    """Return the references of all arguments in order, without duplicates.

    Raises:
        typer.BadParameter: There are no references: an empty stdin is more likely a mistake than intended.
    """
    refs = list(dict.fromkeys(ref for group in groups or () for ref in group))
    if groups and not refs:
        msg = "there is nothing to watch: stdin contains no reference"
        raise typer.BadParameter(msg)
    return refs


def complete_kind(incomplete: str) -> list[str]:
    """Return the prefixes of references to which the shell may complete an argument."""
    return [f"{kind}/" for kind in JobKind if f"{kind}/".startswith(incomplete)]


def check_writable(text: str) -> Path:
    """Return the resolved path of a file that is written later, so that a wrong path fails now and not after hours.

    Raises:
        OSError: The path is not a regular file, or its folder is missing or not writable.
    """
    path = Path(text).resolve()
    if path.exists() and not path.is_file():
        msg = "not a regular file"
        raise OSError(msg)
    if not path.parent.is_dir():
        msg = f"there is no folder {path.parent}"
        raise OSError(msg)
    if not os.access(path.parent, os.W_OK):
        msg = f"permission denied for the folder {path.parent}"
        raise OSError(msg)
    return path


def _read_stdin() -> Iterator[JobRef]:
    for number, line in enumerate(_stdin_lines(), start=1):
        source = f"line {number} of stdin: "
        if line.startswith(_UTF16_BOMS) or b"\0" in line:
            msg = f"{source}this is not UTF-8, but looks like UTF-16"
            raise typer.BadParameter(msg)
        text = line.removeprefix(codecs.BOM_UTF8).decode(errors="backslashreplace")
        if ref := text.partition("#")[0].strip():
            yield _parse_ref(ref, source)


def _stdin_lines() -> Iterator[bytes]:
    """Return the lines as bytes: the encoding of `sys.stdin` is the locale's, on Windows a code page."""
    try:
        for line in getattr(sys.stdin, "buffer", sys.stdin) or ():
            # A program that calls main() may have replaced stdin by a text stream.
            yield from (line if isinstance(line, bytes) else line.encode(errors="backslashreplace")).splitlines()
    except OSError as error:
        msg = f"cannot read stdin: {error}"
        raise typer.BadParameter(msg) from None


def _parse_ref(text: str, source: str = "") -> JobRef:
    try:
        return JobRef.parse(text)
    except ValueError as error:
        reason = str(error)
        if _DIGITS.fullmatch(text):
            guesses = " or ".join(f"{kind}/{text}" for kind in reversed(JobKind))
            reason = f"{text!r} is not a job reference; did you mean {guesses}?"
        msg = f"{source}{reason}"
        raise typer.BadParameter(msg) from None


def parse_positive_int(text: str) -> int:
    """Return a positive whole number.

    Raises:
        typer.BadParameter: It is none.
    """
    return _parse_int(text, 1, _LARGEST_ID, "a positive whole number")


def parse_count(text: str) -> int:
    """Return a number of jobs.

    Raises:
        typer.BadParameter: It is none.
    """
    return _parse_int(text, 0, _MOST_JOBS, "a number of jobs, up to 100000")


def parse_retries(text: str) -> int:
    """Return a number of retries.

    Raises:
        typer.BadParameter: It is none.
    """
    return _parse_int(text, 0, _MOST_RETRIES, f"a number of retries, up to {_MOST_RETRIES}")


def parse_port(text: str) -> int:
    """Return the number of a port.

    Raises:
        typer.BadParameter: It is none.
    """
    return _parse_int(text, 0, _LARGEST_PORT, "a port, 0 to 65535")


def _parse_int(text: str, smallest: int, largest: int, meaning: str) -> int:
    text = str(text)  # typer also passes defaults to parsers
    number = int(text) if _DIGITS.fullmatch(text) else -1
    if not smallest <= number <= largest:
        msg = f"{text!r} is not {meaning}"
        raise typer.BadParameter(msg)
    return number


def parse_positive_duration(text: str) -> float:
    """Return the seconds of a duration.

    Raises:
        typer.BadParameter: The text is not a duration, or the duration is not positive.
    """
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def parse_duration_or_zero(text: str) -> float:
    """Return the seconds of a duration, which may be 0.

    Raises:
        typer.BadParameter: The text is not a duration.
    """
    text = str(text)  # as in `_parse_int`
    return 0.0 if text.strip() in _ZEROS else parse_positive_duration(text)


def parse_speed(text: str) -> float:
    """Return a positive factor.

    Raises:
        typer.BadParameter: It is none.
    """
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not 0 < speed < math.inf:
        msg = f"{text!r} is not a positive number"
        raise typer.BadParameter(msg)
    return speed


def parse_output_path(text: str) -> Path:
    """Return the path of a file to write later.

    Raises:
        typer.BadParameter: It cannot be written.
    """
    try:
        return check_writable(text)
    except OSError as error:
        msg = f"cannot write {text}: {error}"
        raise typer.BadParameter(msg) from None
