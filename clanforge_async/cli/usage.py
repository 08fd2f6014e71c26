"""The result and the error of parsing a command line, and commands whose help has none of typer's additions."""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeAlias, TypeVar, cast

import typer
from typer.core import TyperCommand

T = TypeVar("T")

Command: TypeAlias = Coroutine[Any, Any, int]
"""A parsed command, ready to run. Its result is the exit status."""

UsageError: type[Exception] = cast("type[Exception]", typer.BadParameter.__base__)
"""Raised for wrong arguments. A class of click, which recent versions of typer vendor."""


class PlainCommand(TyperCommand):
    """A command whose help and usage name an argument by its metavar alone, without the type that typer adds."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        parameters: list[Any] = self.params
        for parameter in parameters:
            if parameter.param_type_name == "argument":
                name = parameter.metavar + ("..." if parameter.nargs != 1 else "")
                parameter.get_usage_pieces = partial(_return, [name])
                parameter.get_help_record = partial(_return, (name, parameter.help))


def _return(value: T, _context: object) -> T:
    return value
