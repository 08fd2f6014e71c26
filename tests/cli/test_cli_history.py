"""`clanforge watch --history`: a file with the durations of ended jobs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.cli.harness import Clanforge

from clanforge_async.simulator import Run, Simulator


def test_a_watch_adds_its_runs_to_the_file(simulator: Simulator, clanforge: Clanforge, tmp_path: Path) -> None:
    """With --history, each run that ends is added with its kind as the label, even if it had ended before."""
    path = tmp_path / "history.jsonl"
    simulator.add_image_version(1, duration=0)
    simulator.add_image_diff(5, duration=0, outcome="failed")
    assert clanforge("watch", "image-version/1", "--history", str(path)).status == 0
    assert (
        clanforge("watch", "image-version/1", "image-diff/5", "--history", str(path), "--interval", "0.05").status == 1
    )
    runs = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted((run["label"], run["outcome"]) for run in runs) == [
        ("image-diff", "failed"),
        ("image-version", "completed"),
    ]


def test_a_retry_adds_its_run_too(simulator: Simulator, clanforge: Clanforge, tmp_path: Path) -> None:
    """A retry with --wait and --history adds the new run."""
    path = tmp_path / "history.jsonl"
    simulator.add_image_diff(5, duration=0, outcome="failed", retries=[Run(duration=0.1)])
    finished = clanforge("image-diff", "retry", "5", "--wait", "--history", str(path), "--interval", "0.05")
    assert finished.status == 0
    assert [json.loads(line)["outcome"] for line in path.read_text().splitlines()] == ["completed"]


@pytest.mark.parametrize("command", [("watch", "image-version/1"), ("image-diff", "retry", "5", "--wait")])
def test_a_directory_is_no_history(clanforge: Clanforge, tmp_path: Path, command: tuple[str, ...]) -> None:
    """A directory as history is wrong usage, before anything is sent."""
    finished = clanforge(*command, "--history", str(tmp_path))
    assert finished.status == 2
    assert "--history" in finished.err
