from __future__ import annotations

import pytest
from support.documents import ROOT, Document
from support.testing.projects import run_tests


@pytest.mark.parametrize("guide", ["docs/testing.md", "docs/simulator.md"])
def test_code_of_the_guides_runs(pytester: pytest.Pytester, guide: str) -> None:
    """Each Python block of the guides to testing and to the simulated pipeline is a test file that passes."""
    blocks = [example.code for example in Document(guide).examples]
    tests = sum(block.count("def test_") for block in blocks)
    assert tests
    run_tests(pytester, *blocks).assert_outcomes(passed=tests)


def test_the_respx_example_runs(pytester: pytest.Pytester) -> None:
    """`examples/test_with_respx.py` passes unchanged."""
    source = (ROOT / "examples" / "test_with_respx.py").read_text("utf-8")
    run_tests(pytester, source).assert_outcomes(passed=2)
