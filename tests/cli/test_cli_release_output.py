"""Releases report outages and idle times, and write the files of a pipeline, as a watch does."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from support.cli.harness import CallAndHang, CallFirst, Clanforge, OverrideFields
from support.cli.releases import BUILD, RELEASE, SOURCE, VERSION
from support.cli.terminal import Terminal, strip_control_codes

from clanforge_async.cli import main, release
from clanforge_async.cli.output import report
from clanforge_async.simulator import GatewayError, Simulator

UPDATE_STATUS = "image-update status"
RUNNING = OverrideFields({"jobstateid": 4, "jobstatename": "Running", "jobprogress": 40})
FAILED = OverrideFields({"jobstateid": 6, "jobstatename": "Failed"})


@pytest.mark.parametrize("words", [("--image", "501", "502"), ("--image=501", "502"), ("--image", "501 502,501")])
def test_an_option_takes_several_images(images: Simulator, clanforge: Clanforge, words: tuple[str, ...]) -> None:
    """``--image 501 502`` is the same as ``--image 501 --image 502``, at any position."""
    for argv in ((*words, "--machine", "77"), ("--machine", "77", *words)):
        finished = clanforge("release", "--desc", "build 2", *SOURCE, *argv, "--dry-run")
        assert finished.status == 0
        assert list(dict.fromkeys(line[:3] for line in finished.lines)) == ["501", "502"]
    assert images.requests.count("image-update create") == 0


@pytest.mark.usefixtures("images")
def test_other_words_are_no_images(clanforge: Clanforge) -> None:
    """A word that is not an id ends the list of images, and ids at other positions are not images."""
    assert "No such command 'x'" in clanforge("release", "--image", "501", "x").err
    assert "No such command '502'" in clanforge("release", "--image", "501", "--machine", "77", "502").err


def test_a_pipe_gets_one_line_for_an_outage_and_one_for_its_end(images: Simulator, clanforge: Clanforge) -> None:
    """Stderr reports an outage and its end once, however many images are released."""
    images.faults.add(GatewayError(502), route=UPDATE_STATUS, times=2)
    finished = clanforge("release", *RELEASE, "--image", "502", "--yes", *VERSION)
    assert finished.status == 0
    outage, recovery = finished.err.splitlines()
    assert re.fullmatch(r"outage: 127\.0\.0\.1:\d+ fails since .*HTTP 502.*; retrying, gives up at \S+Z", outage)
    assert re.fullmatch(r"127\.0\.0\.1:\d+: recovered after \d+s", recovery)


def test_a_pipe_gets_the_reason_of_each_of_several_failures(images: Simulator, clanforge: Clanforge) -> None:
    """Of several images a line says at once why one failed; of a single one the command's error does. No line twice."""
    lock = images.lock(502)
    finished = clanforge("release", *RELEASE, "--image", "502", "--yes", *VERSION)
    [failed] = [line for line in finished.lines if line.startswith("502  failed")]
    assert re.fullmatch(rf"502  failed  \d+s: step check: image 502 is locked by {lock}.*", failed)
    assert len(set(finished.lines)) == len(finished.lines)
    alone = clanforge("release", "--image", "502", *RELEASE[2:], "--yes")
    assert alone.lines[-1].startswith("502  failed  ")
    assert "locked" not in alone.out


@pytest.mark.parametrize("options", [(), ("--quiet",)])
def test_json_has_events_for_an_outage(images: Simulator, clanforge: Clanforge, options: tuple[str, ...]) -> None:
    """With ``--json``, an outage and its end are objects on stdout; with ``--quiet`` too, they are lines on stderr."""
    images.faults.add(GatewayError(502), route=UPDATE_STATUS, times=1)
    finished = clanforge("release", *RELEASE, "--yes", "--json", *options, *VERSION)
    events = [record["event"] for record in finished.records if record["event"] in {"outage", "recovered"}]
    assert events == ([] if options else ["outage", "recovered"])
    assert bool(finished.err) is bool(options)


def test_quiet_leaves_outages_on_stderr(images: Simulator, clanforge: Clanforge) -> None:
    """``--quiet`` prints outages to stderr, and nothing to stdout."""
    images.faults.add(GatewayError(502), route=UPDATE_STATUS, times=1)
    finished = clanforge("release", *RELEASE, "--yes", "--quiet", *VERSION)
    assert finished.out == ""
    assert finished.err.startswith("outage: ")
    assert "recovered after" in finished.err


def test_an_outage_tolerance_ends_the_release(images: Simulator, clanforge: Clanforge) -> None:
    """``--outage-tolerance`` ends a release whose polls keep failing, with status 5 and its token."""
    images.faults.add(GatewayError(503), route=UPDATE_STATUS)
    finished = clanforge("release", *RELEASE, "--yes", "--outage-tolerance", "0.3", "--timeout", "1m")
    assert finished.status == 5
    assert "Resume with: clanforge release resume release/1:501" in finished.err
    dry = clanforge("release", "resume", "--yes", "--outage-tolerance", "0", *finished.err.split()[-1:])
    assert dry.status == 5


def test_a_timeout_names_the_last_failure(images: Simulator, clanforge: Clanforge, tmp_path: Path) -> None:
    """A release that times out during an outage names the failure in its JSON, its error and its files."""
    images.faults.add(GatewayError(502), route=UPDATE_STATUS)
    page, junit = tmp_path / "page.html", tmp_path / "images.xml"
    files = ("--report", str(page), "--junit", str(junit))
    finished = clanforge("release", *RELEASE, "--yes", "--timeout", "0.5", "--json", *files)
    assert finished.status == 3
    result = finished.records[-1]
    assert result["error_type"] == "ReleaseTimeoutError"
    assert "HTTP 502" in result["last_error"]
    assert result["error"].endswith(f"; last request: {result['last_error']}")
    assert "; last request: Bad Gateway (HTTP 502" in finished.err
    assert all("last request: Bad Gateway" in path.read_text("utf-8") for path in (page, junit))


def test_a_terminal_shows_an_outage_below_its_table(
    images: Simulator, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal shows the host, the failure and the time left, and keeps a line after the end of the outage."""
    images.faults.add(GatewayError(502), route=UPDATE_STATUS, times=1)
    monkeypatch.setattr(release, "TICK", 0.02)
    with terminal.as_stdout():
        assert main(["release", *RELEASE, "--yes", *VERSION]) == 0
    terminal.wait_for("released")
    shown = " ".join(" ".join(strip_control_codes(terminal.shown)).split())
    assert re.search(r"127\.0\.0\.1:\d+ fails for \d+s, gives up in \dm\d\ds: Bad Gateway", shown)
    assert re.search(r"\d\d:\d\d:\d\d: 127\.0\.0\.1:\d+ failed for \d+s: Bad Gateway", shown)


def test_a_heartbeat_shows_that_nothing_changed(
    images: Simulator, clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a change, a pipe gets a line every ``--heartbeat``, with the counts; with 0 or ``--json``, none."""
    monkeypatch.setattr(release, "TICK", 0.05)
    for options, beats in ((("0.2",), True), (("0",), False), (("0.2", "--json"), False)):
        images.faults.add(RUNNING, route=UPDATE_STATUS, times=1)
        finished = clanforge("release", *RELEASE, "--yes", *VERSION, "--heartbeat", *options)
        assert finished.status == 0
        lines = [line for line in finished.lines if "no change for" in line]
        assert bool(lines) is beats
        assert all(re.fullmatch(r"1 image, \d+s: 1 update; no change for \ds", line) for line in lines)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The report's file, refreshed at every tick."""
    monkeypatch.setattr(release, "TICK", 0.02)
    monkeypatch.setattr(report, "_REFRESH", 0.02)
    return tmp_path / "page.html"


def test_the_report_has_a_row_for_each_image(images: Simulator, clanforge: Clanforge, page: Path) -> None:
    """``--report`` shows each image's steps and jobs, its outcome and its error; it is refreshed until the end."""
    seen: list[str] = []
    images.faults.add(
        CallFirst(lambda: seen.append(page.read_text("utf-8") if page.exists() else "")), route="image-version status"
    )
    lock = images.lock(502)
    finished = clanforge("release", *RELEASE, "--image", "502", "--yes", "--settle", "0", "--report", str(page))
    assert finished.status == 6
    assert '<meta http-equiv="refresh"' in seen[-1]
    assert "being released, since" in seen[-1]
    html = page.read_text("utf-8")
    assert "refresh" not in html
    assert "<title>2 images: 1 failed, 1 released</title>" in html
    assert "account service ID 1234, released from " in html
    assert re.search(r"\(\d+s, \d+ requests\)\. Times of steps are by the local clock\.", html)
    steps = "check .*, update .*, diff .*, approve .*, version .*, rollout .*, released"
    assert re.search(f'aria-label="image 501: {steps}"', html)
    assert f"image 502 is locked by {lock}" in html
    jobs = re.findall(r'data-label="Jobs">(.*?)</td>', html)
    assert jobs[0] == ""
    assert re.fullmatch(
        r"image-update/\d+ completed<br>image-diff/\d+ completed<br>image-version/\d+ completed", jobs[1]
    )
    assert re.search(r'data-label="Machines">0 pending, 0 failed, 1 completed</td>', html)
    assert "Resume with" not in html


def test_an_interrupted_release_leaves_its_files(
    images: Simulator, clanforge: Clanforge, page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Ctrl-C, the report has the command to resume with, and JUnit XML and the summary show unfinished images."""
    images.faults.add(CallAndHang(lambda: os.kill(os.getpid(), signal.SIGINT)), route=UPDATE_STATUS)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    junit = tmp_path / "images.xml"
    finished = clanforge("release", *RELEASE, "--yes", "--report", str(page), "--junit", str(junit))
    assert finished.status == 130
    token = finished.err.split()[-1]
    assert f"<pre>clanforge release resume {token}</pre>" in page.read_text("utf-8")
    assert 'skipped="1"' in junit.read_text("utf-8")
    assert "| image 501 | unfinished |" in (tmp_path / "summary.md").read_text("utf-8")


def test_a_held_release_is_resumed_from_its_report(images: Simulator, clanforge: Clanforge, page: Path) -> None:
    """The report of a held release has the command to resume; the resumed one's shows the earlier jobs too."""
    clanforge("release", *RELEASE, "--hold", "--report", str(page))
    html = page.read_text("utf-8")
    assert "<title>1 image: 1 held</title>" in html
    [command] = re.findall("<pre>clanforge (.*)</pre>", html)
    assert clanforge(*command.split(), "--approve", *VERSION, "--report", str(page)).status == 0
    html = page.read_text("utf-8")
    assert re.search(r"image-update/\d+<br>image-diff/\d+", html)
    assert "1 image: 1 released" in html
    assert images.image(501).files == BUILD


@pytest.fixture
def junit_cases(clanforge: Clanforge, tmp_path: Path) -> Callable[..., dict[str, list[tuple[str, str | None]]]]:
    """Run a command with ``--junit``, and return the elements of each test case."""

    def run(*argv: str) -> dict[str, list[tuple[str, str | None]]]:
        path = tmp_path / "images.xml"
        clanforge(*argv, "--junit", str(path))
        [suite] = ET.fromstring(path.read_text("utf-8"))  # noqa: S314 - our own file
        assert suite.get("name") == "clanforge release"
        assert {case.get("classname") for case in suite} == {"release"}
        return {str(case.get("name")): [(child.tag, child.get("type")) for child in case] for case in suite}

    return run


def test_junit_has_a_test_case_for_each_image(
    images: Simulator, junit_cases: Callable[..., dict[str, list[tuple[str, str | None]]]], tmp_path: Path
) -> None:
    """A held release is skipped, a rejection and a failed job are failures, everything else is an error."""
    images.lock(502)
    journal = ("--journal", str(tmp_path / "journal"))
    held = junit_cases("release", *RELEASE, "--image", "502", "--hold", *journal)
    assert held == {"image 501": [("skipped", None)], "image 502": [("error", "failed")]}
    file = str(tmp_path / "journal" / "image-501.json")
    assert junit_cases("release", "resume", file, "--reject") == {"image 501": [("failure", "rejected")]}
    images.faults.add(FAILED, route=UPDATE_STATUS, times=1)
    assert junit_cases("release", *RELEASE, "--yes") == {"image 501": [("failure", "failed")]}
    assert junit_cases("release", *RELEASE, "--yes", *VERSION) == {"image 501": []}
    assert junit_cases("release", *RELEASE, "--yes", *VERSION) == {"image 501": []}, "unchanged"


def test_github_gets_annotations_and_a_summary(
    images: Simulator, clanforge: Clanforge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In GitHub Actions, a failed release is an annotation, and the summary has a table of all images."""
    lock = images.lock(502)
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    finished = clanforge("release", *RELEASE, "--image", "502", "--yes", *VERSION)
    assert finished.status == 6
    [annotation] = [line for line in finished.err.splitlines() if line.startswith("::")]
    assert annotation.startswith("::error title=image 502 failed::release of image 502, step check: ")
    assert f"locked by {lock}" in annotation
    lines = summary.read_text("utf-8").splitlines()
    assert lines[0] == "### clanforge release: 2 images, 1 failed, 1 released"
    assert lines[2] == "| image | outcome | time | reason |"
    assert [line.split(" | ")[:2] for line in lines[4:6]] == [["| image 502", "failed"], ["| image 501", "released"]]
