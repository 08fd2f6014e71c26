"""Code blocks of the documentation, in their order."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Example(NamedTuple):
    """A Python block, and the output shown below it, if any."""

    code: str
    output: str | None

    @property
    def is_program(self) -> bool:
        """Whether the block is a complete program."""
        return "asyncio.run(" in self.code

    @property
    def is_session_snippet(self) -> bool:
        """Whether the block is part of an interactive session: neither a program nor a pytest file."""
        return not self.is_program and "import pytest" not in self.code and "def test_" not in self.code


class Document:
    """A Markdown document."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.text = (ROOT / path).read_text()
        self.blocks: list[tuple[str, str]] = _BLOCK.findall(self.text)

    @cached_property
    def examples(self) -> list[Example]:
        """All Python blocks."""
        following = [*self.blocks, ("", "")][1:]
        return [
            Example(code, output if shown == "text" else None)
            for (language, code), (shown, output) in zip(self.blocks, following, strict=True)
            if language == "python"
        ]

    @cached_property
    def commands(self) -> list[str]:
        """All lines of shell blocks."""
        return [line for language, code in self.blocks if language == "sh" for line in code.splitlines()]


GUIDES = [Document(str(path.relative_to(ROOT))) for path in sorted((ROOT / "docs").glob("*.md"))]
