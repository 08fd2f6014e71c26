"""The HTML report of ``--report`` in a real browser."""

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


def write_report(path: Path, count: int) -> str:
    """Write a report of this many jobs, and return its URL."""
    ref = JobRef.image_diff(5)
    failed = ended_result(ref, JobState.FAILED, error=HOSTILE)
    odd = make_job(ref, None, state_name=HOSTILE[:20])
    assert failed.job is not None
    known = [*sample_job_states(count - 1), job_states(ref, odd, failed.job, result=failed)]
    path.write_text(report.render_report(known, BEGAN, NOW), "utf-8")
    return path.as_uri()


@pytest.mark.parametrize("count", [3, 500])
async def test_each_job_has_its_bars_and_its_result(page: Page, tmp_path: Path, count: int) -> None:
    """Every job has a visible, labelled row of bars and a row with its result."""
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    address = write_report(tmp_path / "page.html", count)
    await page.goto(address)
    assert requests == [address]
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


async def test_texts_of_a_job_are_not_run(page: Page, tmp_path: Path) -> None:
    """Texts of a job are shown as text, never run as HTML."""
    await page.goto(write_report(tmp_path / "page.html", 3))
    assert await page.get_by_text("<script>document.title").count() == 2  # beside the bars and in the table
    assert "owned" not in await page.title()
    assert await page.locator("script, img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_contrasts_in_light_and_dark_mode(
    page: Page, tmp_path: Path, scheme: Literal["light", "dark"]
) -> None:
    """Text contrasts with the background in light and dark mode."""
    await page.emulate_media(color_scheme=scheme)
    await page.goto(write_report(tmp_path / "page.html", 3))
    background = await _brightness(page, "body", "backgroundColor")
    assert (background > 0.5) == (scheme == "light")
    for text in ("body", "header p", ".results .failed", ".results .completed", ".timeline thead th"):
        assert abs(await _brightness(page, text, "color") - background) > 0.3, text


async def test_it_prints_and_fits_a_small_screen(page: Page, tmp_path: Path) -> None:
    """The printed report breaks into pages; on a small screen it does not scroll sideways."""
    await page.goto(write_report(tmp_path / "page.html", 100))
    assert (await page.pdf(format="A4")).count(b"/Type /Page\n") > 1
    await page.set_viewport_size({"width": 390, "height": 800})
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390


async def _brightness(page: Page, selector: str, css_property: str) -> float:
    colour = await page.locator(selector).first.evaluate(f"element => getComputedStyle(element).{css_property}")
    red, green, blue = (int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))
    return (0.299 * red + 0.587 * green + 0.114 * blue) / 255
