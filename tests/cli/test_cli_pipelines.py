"""JUnit XML, and GitHub's annotations and summaries."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from support.cli.harness import CallAndHang, Clanforge
from support.cli.sample_jobs import ended_result, timed_out_result

from clanforge_async import JobRef, JobState
from clanforge_async.cli.output.cases import Case
from clanforge_async.cli.output.github import render_summary
from clanforge_async.cli.output.junit import render_junit
from clanforge_async.simulator import Simulator

REF, FAILED, SQUASHED, LATE, UNFINISHED = (JobRef.image_version(number) for number in range(1, 6))


def test_junit_has_a_test_case_for_each_job(simulator: Simulator, clanforge: Clanforge, tmp_path: Path) -> None:
    """--junit writes a test case for each job, with the reason why it has not completed."""
    simulator.add_image_version(1, duration=0)
    simulator.add_image_diff(5, duration=0, outcome="failed", error="disk <full> \x1b[2J")
    path = tmp_path / "jobs.xml"
    assert clanforge("watch", "image-version/1", "image-diff/5", "image-diff/6", "--junit", str(path)).status == 6
    suites = ET.fromstring(path.read_text("utf-8"))  # noqa: S314 - our own file
    assert suites.tag == "testsuites"
    [suite] = suites
    expected = {"tests": "3", "failures": "1", "errors": "1", "skipped": "0"}
    assert {name: suite.get(name) for name in expected} == expected
    completed, failed, unknown = suite
    assert (completed.get("classname"), completed.get("name"), len(completed)) == (
        "image-version",
        "image-version/1",
        0,
    )
    assert float(completed.get("time", "")) > 0
    assert [(child.tag, child.get("message")) for child in failed] == [("failure", "disk <full> \ufffd[2J")]
    assert unknown[0].tag == "error"
    assert "404" in unknown[0].get("message", "")


def test_junit_has_only_the_attributes_of_the_usual_schema() -> None:
    """Elements and attributes are those of Jenkins' schema, by which other tools read JUnit XML too."""
    results = {
        FAILED: ended_result(FAILED, JobState.FAILED, error="disk full"),
        LATE: timed_out_result(LATE),
        UNFINISHED: None,
    }
    text = render_junit([Case.of_job(ref, result) for ref, result in results.items()], "clanforge watch", 12.5)
    allowed = {
        "testsuites": {"name", "time", "tests", "failures", "disabled", "errors"},
        "testsuite": {"name", "tests", "failures", "errors", "time", "skipped", "timestamp", "hostname", "id"},
        "testcase": {"name", "classname", "time", "assertions", "status"},
        "skipped": {"message", "type"},
        "failure": {"message", "type"},
        "error": {"message", "type"},
    }
    elements = list(ET.fromstring(text).iter())  # noqa: S314 - our own text
    assert {element.tag for element in elements} == allowed.keys()
    assert all(element.attrib.keys() <= allowed[element.tag] for element in elements)


def test_junit_has_an_element_for_each_outcome() -> None:
    """Failures, errors and unfinished jobs have their own elements; a missing reason is replaced by the outcome."""
    results = {
        REF: ended_result(REF, JobState.COMPLETED),
        FAILED: ended_result(FAILED, JobState.FAILED, error="disk full"),
        SQUASHED: ended_result(SQUASHED, JobState.SQUASHED),
        LATE: timed_out_result(LATE),
        UNFINISHED: None,
    }
    suites = render_junit([Case.of_job(ref, result) for ref, result in results.items()], "clanforge watch", 12.5)
    cases = ET.fromstring(suites)[0]  # noqa: S314 - our own text
    assert cases.get("time") == "12.500"
    assert [[(child.tag, child.get("type")) for child in case] for case in cases] == [
        [],
        [("failure", "failed")],
        [("failure", "squashed")],
        [("error", "timeout")],
        [("skipped", None)],
    ]
    assert cases[2][0].text == "squashed"


def test_an_interrupted_watch_leaves_its_files(
    simulator: Simulator, clanforge: Clanforge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JUnit XML and the step's summary are written on Ctrl-C too."""
    simulator.faults.add(CallAndHang(lambda: os.kill(os.getpid(), signal.SIGINT)))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    assert clanforge("watch", "image-version/1", "--junit", str(tmp_path / "jobs.xml")).status == 130
    assert 'skipped="1"' in (tmp_path / "jobs.xml").read_text("utf-8")
    assert "| image-version/1 | unfinished |" in (tmp_path / "summary.md").read_text("utf-8")


def test_github_gets_annotations_and_a_summary(
    simulator: Simulator, clanforge: Clanforge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In GitHub Actions each job that has not completed is an annotation, and the summary has a table of all jobs."""
    simulator.add_image_version(1, duration=0)
    simulator.add_image_diff(5, duration=0, outcome="failed", error="100% full\n::error::[x](http://x) |")
    summary = tmp_path / "summary.md"
    summary.write_text("# before\n", "utf-8")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    finished = clanforge("watch", "image-version/1", "image-diff/5", "--json")
    assert all(record["event"] in {"update", "result"} for record in finished.records)
    [annotation] = [line for line in finished.err.splitlines() if line.startswith("::")]
    assert annotation == r"::error title=image-diff/5 failed::100%25 full\n::error::[x](http://x) |"
    lines = summary.read_text("utf-8").splitlines()
    assert lines[:2] == ["# before", "### clanforge watch: 2 jobs, 1 failed, 1 completed"]
    assert lines[5].startswith(
        "| image-diff/5 | failed | 0s | 100&#37; full&#92;n::error::&#91;x&#93;(http://x) &#124; |"
    )
    assert lines[6] == "| image-version/1 | completed | 0s |  |"


def test_a_long_summary_is_cut() -> None:
    """The summary has at most 500 rows, failures first."""
    results = {ref: ended_result(ref, JobState.COMPLETED) for ref in map(JobRef.image_version, range(1, 600))}
    results[FAILED] = ended_result(FAILED, JobState.FAILED)
    cases = [Case.of_job(ref, result) for ref, result in results.items()]
    lines = render_summary(cases, "clanforge watch", "job").splitlines()
    assert lines[4].startswith(f"| {FAILED} | failed")
    assert lines[-2:] == ["| and 99 more | | | |", ""]


@pytest.mark.parametrize(("summary", "warning"), [("", ""), ("/no/such/folder", "warning: the summary of the step")])
def test_a_summary_that_cannot_be_written_is_a_warning(
    simulator: Simulator, clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch, summary: str, warning: str
) -> None:
    """Without the variable, no summary is written; if writing fails, a warning is printed and the status is kept."""
    simulator.add_image_version(1, duration=0)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", summary)
    finished = clanforge("watch", "image-version/1")
    assert finished.status == 0
    assert finished.err.startswith(warning)
    assert bool(finished.err) is bool(warning)
