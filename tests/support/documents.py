"""The documentation, as what is in it for tests: blocks of code, in their order."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Example(NamedTuple):
    """Python, and what is shown beneath it as its output, if anything is."""

    code: str
    output: str | None

    @property
    def is_program(self) -> bool:
        """Whether it is a program of its own."""
        return "asyncio.run(" in self.code

    @property
    def is_of_a_session(self) -> bool:
        """Whether it is part of an interactive session: neither a program nor a file for pytest."""
        return not self.is_program and "import pytest" not in self.code and "def test_" not in self.code


class Document:
    """A document in Markdown."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.text = (ROOT / path).read_text()
        self.blocks: list[tuple[str, str]] = _BLOCK.findall(self.text)

    @cached_property
    def examples(self) -> list[Example]:
        """Everything in Python."""
        following = [*self.blocks, ("", "")][1:]
        return [
            Example(code, output if shown == "text" else None)
            for (language, code), (shown, output) in zip(self.blocks, following, strict=True)
            if language == "python"
        ]

    @cached_property
    def commands(self) -> list[str]:
        """Every line for a shell."""
        return [line for language, code in self.blocks if language == "sh" for line in code.splitlines()]


GUIDES = [Document(str(path.relative_to(ROOT))) for path in sorted((ROOT / "docs").glob("*.md"))]
