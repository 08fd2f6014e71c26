from __future__ import annotations

import pytest
from support.documents import ROOT, Document
from support.testing.projects import run_tests


def test_the_guides_code_runs(pytester: pytest.Pytester) -> None:
    """Each block of Python in the guide to testing is a file of tests that pass."""
    blocks = [example.code for example in Document("docs/testing.md").examples]
    tests = sum(block.count("def test_") for block in blocks)
    assert tests
    run_tests(pytester, *blocks).assert_outcomes(passed=tests)


def test_the_example_with_respx_runs(pytester: pytest.Pytester) -> None:
    """`examples/test_with_respx.py` is a user's own test as it stands."""
    source = (ROOT / "examples" / "test_with_respx.py").read_text("utf-8")
    run_tests(pytester, source).assert_outcomes(passed=2)
