"""The report is refreshed while jobs are watched, and shows the API and its current problems."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from support.cli.harness import CallFirst, Clanforge, OverrideFields

from clanforge_async.cli import commands
from clanforge_async.cli.output import report
from clanforge_async.simulator import GatewayError, Latency, Simulator


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The report's file, refreshed at every tick."""
    monkeypatch.setattr(commands, "TICK", 0.05)
    monkeypatch.setattr(report, "_REFRESH", 0.05)
    return tmp_path / "page.html"


def test_the_report_is_refreshed_until_the_end(simulator: Simulator, clanforge: Clanforge, page: Path) -> None:
    """Before the end, the page reloads itself and shows the state so far; the last version does not reload."""
    simulator.add_image_version(1, duration=0)
    seen: list[str] = []
    simulator.faults.add(OverrideFields.running(40), times=3)
    simulator.faults.add(CallFirst(lambda: seen.append(page.read_text("utf-8") if page.exists() else "")))
    assert clanforge("watch", "image-version/1", "--interval", "0.3", "--report", str(page)).status == 0
    assert '<meta http-equiv="refresh" content="0">' in seen[-1]
    assert "being watched, since" in seen[-1]
    assert 'aria-label="image-version/1: waiting' in seen[-1]
    last = page.read_text("utf-8")
    assert "refresh" not in last
    host = os.environ["CLANFORGE_BASE_URL"].removeprefix("http://")
    assert f"<p>1 job on {host}, account service ID 1234, watched from " in last
    assert ", 4 polls)" in last


def test_the_report_shows_an_outage(simulator: Simulator, clanforge: Clanforge, page: Path) -> None:
    """During an outage, the page shows the failure, its start, and when the watch gives up; afterwards it does not."""
    simulator.add_image_version(1, duration=0)
    seen: list[str] = []
    simulator.faults.add(CallFirst(lambda: seen.append(page.read_text("utf-8") if page.exists() else "")))
    simulator.faults.add(GatewayError(502), times=2)
    assert clanforge("watch", "image-version/1", "--interval", "0.3", "--report", str(page)).status == 0
    assert '<p class="warning">outage: 127.0.0.1:' in seen[-1]
    assert "gives up at" in seen[-1]
    assert '<p class="warning">' not in page.read_text("utf-8")


def test_an_outage_is_in_the_report_within_a_tick(
    simulator: Simulator, clanforge: Clanforge, tmp_path: Path, monkeypatch: Any
) -> None:
    """An outage and its end are written with the next tick, not only with the next refresh."""
    monkeypatch.setattr(report, "_REFRESH", 60.0)
    monkeypatch.setattr(commands, "TICK", 0.02)
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(GatewayError(502), times=1)
    simulator.faults.add(OverrideFields.running(40), times=3)
    texts: list[str] = []
    monkeypatch.setattr(report, "write_or_warn", lambda _path, text, _name: texts.append(text))
    options = ("--interval", "0.3", "--report", str(tmp_path / "page.html"))
    assert clanforge("watch", "image-version/1", *options).status == 0
    *before, after, last = ["outage: " in text for text in texts]
    assert before[-1]
    assert (after, last) == (False, False)


def test_the_report_keeps_an_outage_that_is_not_over(simulator: Simulator, clanforge: Clanforge, page: Path) -> None:
    """If the command ends during an outage, the page still says what failed, and no more that it is repeated."""
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(GatewayError(502))
    options = ("--interval", "0.1", "--timeout", "0.5", "--report", str(page))
    assert clanforge("watch", "image-version/1", *options).status == 3
    [warning] = re.findall('<p class="warning">(.*?)</p>', page.read_text("utf-8"))
    assert "HTTP 502" in warning
    assert "retrying" not in warning


def test_the_report_shows_an_unanswered_request(
    simulator: Simulator, clanforge: Clanforge, page: Path, monkeypatch: Any
) -> None:
    """A request without a response is shown too."""
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(Latency(60))
    monkeypatch.setattr("clanforge_async.cli.outages._SILENT_AFTER", 0.1)
    texts: list[str] = []
    monkeypatch.setattr(report, "write_or_warn", lambda _path, text, _name: texts.append(text))
    assert clanforge("watch", "image-version/1", "--timeout", "0.5", "--report", str(page)).status == 3
    assert any("no response for 0s; still waiting" in text for text in texts)


def test_an_error_is_shown_beside_its_row(simulator: Simulator, clanforge: Clanforge, page: Path) -> None:
    """The reason of a failure is shown under the job's name in the timeline."""
    simulator.add_image_version(1, duration=0, outcome="failed", error="disk <full>")
    assert clanforge("watch", "image-version/1", "--report", str(page)).status == 1
    row = '<th scope="row">image-version/1<small class="failed">disk &lt;full&gt;</small></th>'
    assert row in page.read_text("utf-8")
