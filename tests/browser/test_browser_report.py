"""The page that ``--report`` writes, as people see it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from support.cli.sample_jobs import BEGAN, NOW, ended_result, job_states, make_job, sample_job_states

from clanforge_async import JobRef, JobState
from clanforge_async.cli.output import report

if TYPE_CHECKING:
    from playwright.async_api import Page

pytest.importorskip("playwright")
pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTILE = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"


def written(path: Path, count: int) -> str:
    """Write a report of so many jobs, and return its address."""
    ref = JobRef.image_diff(5)
    failed = ended_result(ref, JobState.FAILED, error=HOSTILE)
    odd = make_job(ref, None, state_name=HOSTILE[:20])
    assert failed.job is not None
    known = [*sample_job_states(count - 1), job_states(ref, odd, failed.job, result=failed)]
    path.write_text(report.render_report(known, BEGAN, NOW), "utf-8")
    return path.as_uri()


@pytest.mark.parametrize("count", [3, 500])
async def test_each_job_has_its_bars_and_its_result(page: Page, tmp_path: Path, count: int) -> None:
    """Every job has a row of bars that can be seen and heard of, and a row with its result."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    address = written(tmp_path / "page.html", count)
    await page.goto(address)
    assert asked == [address]
    assert await page.locator(".timeline tbody tr").count() == count
    assert await page.locator(".results tbody tr").count() == count
    label = await page.locator(".timeline tbody svg[role=img]").last.get_attribute("aria-label")
    assert label is not None
    assert label.startswith("image-version/")
    bar = await page.locator(".timeline rect.running").first.bounding_box()
    assert bar is not None
    assert bar["width"] > 10
    assert bar["height"] > 10
    assert await page.locator(".timeline rect title").first.text_content()


async def test_the_server_cannot_run_anything(page: Page, tmp_path: Path) -> None:
    """What a job says is there to be read, and is no part of the page."""
    await page.goto(written(tmp_path / "page.html", 3))
    assert await page.get_by_text("<script>document.title").count() == 1
    assert "owned" not in await page.title()
    assert await page.locator("script, img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_can_be_read_by_day_and_by_night(page: Page, tmp_path: Path, scheme: Literal["light", "dark"]) -> None:
    """Text stands out from the paper, in whichever of the two the reader's system prefers."""
    await page.emulate_media(color_scheme=scheme)
    await page.goto(written(tmp_path / "page.html", 3))
    paper = await _lightness(page, "body", "backgroundColor")
    assert (paper > 0.5) == (scheme == "light")
    for text in ("body", "header p", ".results .failed", ".results .completed", ".timeline thead th"):
        assert abs(await _lightness(page, text, "color") - paper) > 0.3, text


async def test_it_fits_on_paper_and_on_a_phone(page: Page, tmp_path: Path) -> None:
    """Printed it breaks into pages, and on a small screen the page itself does not scroll sideways."""
    await page.goto(written(tmp_path / "page.html", 100))
    assert (await page.pdf(format="A4")).count(b"/Type /Page\n") > 1
    await page.set_viewport_size({"width": 390, "height": 800})
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390


async def _lightness(page: Page, selector: str, what: str) -> float:
    colour = await page.locator(selector).first.evaluate(f"element => getComputedStyle(element).{what}")
    red, green, blue = (int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))
    return (0.299 * red + 0.587 * green + 0.114 * blue) / 255
