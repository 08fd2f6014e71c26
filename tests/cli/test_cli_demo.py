from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from support.cli.harness import Clanforge

from clanforge_async import JobRef
from clanforge_async.cli import demo
from clanforge_async.cli.parameters import WatchOptions
from clanforge_async.simulator import Outcome, Simulator


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "run_demo", partial(demo.run_demo, speed=60.0, watch_options=WatchOptions(interval=0.05)))


def test_the_demo_ends_as_planned(clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo ignores the environment, watches a dozen jobs, prints a table and exits with status 0."""
    monkeypatch.setenv("CLANFORGE_TOKEN", "of a real account")
    monkeypatch.setenv("CLANFORGE_BASE_URL", "https://clanforge.invalid")
    monkeypatch.setenv("COLUMNS", "80")
    finished = clanforge("demo")
    assert finished.status == 0
    assert finished.err == ""
    table = [line for line in finished.lines if line.startswith("│")]
    assert len(table) == 12
    assert sum("failed" in line for line in table) == 1
    assert sum("squashed" in line for line in table) == 1
    assert sum("image-diff/5005@" in line and "completed" in line for line in table) == 1
    assert finished.lines[-1].startswith("12 jobs: all as planned; delay of detection: median ")
    assert [line for line in finished.lines if "10 completed" in line and "polls" in line] == [finished.lines[-18]]
    assert all(len(line) <= 80 for line in finished.lines if not line.startswith("image-"))


def test_the_demo_writes_a_report(clanforge: Clanforge, tmp_path: Path) -> None:
    """With --quiet the demo prints only its table; with --report it writes a report."""
    page = tmp_path / "demo.html"
    finished = clanforge("demo", "--quiet", "--report", str(page))
    assert finished.status == 0
    assert not [line for line in finished.lines if line.startswith("image-version/")]
    assert "12 jobs: 1 failed, 1 squashed, 10 completed" in page.read_text("utf-8")


def test_the_demo_reports_an_unplanned_outcome(clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outcome other than the planned one is highlighted, and the exit status is 1."""

    def fill(simulator: Simulator) -> dict[JobRef, Outcome]:
        return {
            simulator.add_image_version(1, duration=0): "failed",
            simulator.add_image_diff(5005, duration=0, outcome="failed"): "completed",
        }

    monkeypatch.setattr(demo, "_add_jobs", fill)
    monkeypatch.setenv("COLUMNS", "120")
    finished = clanforge("demo")
    assert finished.status == 1
    assert "completed, not failed" in finished.out
    assert "1 NOT as planned" in finished.out
