"""Which jobs a command is about: references from its arguments and from stdin."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import typer

from clanforge_async.refs import JobKind, JobRef

STDIN = "-"
"""What stands for the references that stdin gives, one a line."""


def refs_of(argument: str) -> list[JobRef]:
    """Return the reference that an argument is, or those that it stands for.

    Raises:
        typer.BadParameter: One of them is no reference.
    """
    return list(_from_stdin()) if argument == STDIN else [_ref(argument)]


def flattened(given: Sequence[Sequence[JobRef]] | None) -> list[JobRef]:
    """Return the references of all arguments in their order, each of them once.

    Raises:
        typer.BadParameter: There is none: an empty list is more likely a mistake than a success.
    """
    refs = list(dict.fromkeys(ref for group in given or () for ref in group))
    if given and not refs:
        msg = "there is nothing to watch: stdin holds no reference"
        raise typer.BadParameter(msg)
    return refs


def kinds_of(incomplete: str) -> list[str]:
    """Return how the references begin that an incomplete one may become, for the shell's completion."""
    return [f"{kind}/" for kind in JobKind if f"{kind}/".startswith(incomplete)]


def _from_stdin() -> Iterator[JobRef]:
    for number, line in enumerate(sys.stdin or (), start=1):
        if text := line.partition("#")[0].strip():
            yield _ref(text, f"line {number} of stdin is ")


def _ref(text: str, where: str = "") -> JobRef:
    try:
        return JobRef.parse(text)
    except ValueError as error:
        msg = f"{where}{error}"
        raise typer.BadParameter(msg) from None
