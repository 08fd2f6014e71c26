"""The example service's page, as a team sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import pytest_asyncio
from support.cli.harness import OverrideFields
from support.examples.running import environment
from support.examples.served import service

from clanforge_async.simulator import Simulator, serve

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator, Page

pytest.importorskip("playwright")
pytestmark = pytest.mark.asyncio(loop_scope="session")

BUILT, FAILED, LONG = "image-version/9012", "image-diff/5678@1763769600", "image-version/10001"
PATIENCE = 30_000
"""Milliseconds that a busy machine may take."""


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """An empty page. No script on it may fail, but its console may complain of a service that is away."""
    page = await browser.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    yield page
    await page.close()
    assert failures == []


async def see(where: Locator, text: str) -> None:
    """Wait until a text is shown, as the whole of something."""
    await where.get_by_text(text, exact=True).wait_for(timeout=PATIENCE)


async def table(page: Page) -> list[list[str]]:
    """Return what the page shows, row by row, but for progress and times."""
    rows = await page.locator("tbody tr").all()
    shown = [await row.locator("td").all_inner_texts() for row in rows]
    return [[ref, state, outcome] for ref, state, _, _, outcome in shown]


async def test_the_page_follows_jobs_to_their_ends(page: Page, tmp_path: Path) -> None:
    """Rows come and change by themselves, are the same after a reload, and go on when the service was restarted."""
    simulator, database = Simulator(), tmp_path / "watches.sqlite3"
    async with serve(simulator) as base_url:
        env = environment(CLANFORGE_BASE_URL=base_url)
        status, rows = page.get_by_role("status"), page.locator("tbody tr")
        async with service(database, env) as first:
            await page.goto(first.url)
            await see(status, "Live")
            simulator.add_image_diff(5678, duration=5, fails_at=1, outcome="failed", error="<b>disk full</b>")
            simulator.add_image_version(9012, duration=5)
            simulator.add_image_version(10001, duration=0)
            runs_on = simulator.faults.add(OverrideFields.running(50), id=10001)
            async with httpx.AsyncClient(base_url=first.url) as other:
                await other.post("/watches", json=[LONG, BUILT, FAILED])
            for ref in (FAILED, BUILT, LONG):
                await see(rows.filter(has_text=ref), "Running")
            await see(rows.filter(has_text=FAILED), "image-diff/5678 failed: <b>disk full</b>")
            await see(rows.filter(has_text=BUILT), "completed")
            shown = await table(page)
            assert [row[:2] for row in shown] == [[FAILED, "Failed"], [BUILT, "Completed"], [LONG, "Running"]]
            await page.reload()
            await see(rows.filter(has_text=LONG), "Running")
            assert await table(page) == shown
            await first.stop()
            await see(status, "Reconnecting")
        simulator.faults.remove(runs_on)
        async with service(database, env, port=httpx.URL(first.url).port or 0):
            await see(rows.filter(has_text=LONG), "completed")
            await see(status, "Live")
            assert await table(page) == [*shown[:2], [LONG, "Completed", "completed"]]
