from __future__ import annotations

import re
from pathlib import Path

import pytest
from testing.projects import run_tests

ROOT = Path(__file__).parent.parent.parent


def test_the_guides_code_runs(pytester: pytest.Pytester) -> None:
    """Each block of Python in the guide to testing is a file of tests that pass."""
    guide = (ROOT / "docs" / "testing.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", guide, re.DOTALL | re.MULTILINE)
    tests = sum(block.count("def test_") for block in blocks)
    assert tests
    run_tests(pytester, *blocks).assert_outcomes(passed=tests)


def test_the_example_with_respx_runs(pytester: pytest.Pytester) -> None:
    """`examples/test_with_respx.py` is a user's own test as it stands."""
    source = (ROOT / "examples" / "test_with_respx.py").read_text("utf-8")
    run_tests(pytester, source).assert_outcomes(passed=2)
