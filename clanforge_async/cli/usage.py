"""The result and the error of parsing a command line."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeAlias, cast

import typer

Command: TypeAlias = Coroutine[Any, Any, int]
"""A parsed command, ready to run. Its result is the exit status."""

UsageError: type[Exception] = cast("type[Exception]", typer.BadParameter.__base__)
"""Raised for wrong arguments. A class of click, which recent versions of typer vendor."""
