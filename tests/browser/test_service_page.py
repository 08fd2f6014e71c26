"""The example service's page in a real browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import pytest_asyncio
from support.cli.harness import OverrideFields
from support.examples.example_process import environment
from support.examples.service_process import run_service

from clanforge_async.simulator import Simulator, serve

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator, Page

pytest.importorskip("playwright")
pytestmark = pytest.mark.asyncio(loop_scope="session")

BUILT, FAILED, LONG = "image-version/9012", "image-diff/5678@1763769600", "image-version/10001"
TIMEOUT_MS = 30_000
"""Timeout in milliseconds, long enough for a busy machine."""


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """An empty page. The test fails if a script on it fails; console errors are allowed while the service is down."""
    page = await browser.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    yield page
    await page.close()
    assert failures == []


async def wait_for_text(where: Locator, text: str) -> None:
    """Wait until an element with exactly this text is visible."""
    await where.get_by_text(text, exact=True).wait_for(timeout=TIMEOUT_MS)


async def table(page: Page) -> list[list[str]]:
    """Return the table's cells row by row, without progress and times."""
    rows = await page.locator("tbody tr").all()
    shown = [await row.locator("td").all_inner_texts() for row in rows]
    return [[ref, state, outcome] for ref, state, _, _, outcome in shown]


async def test_the_page_follows_jobs_until_they_end(page: Page, tmp_path: Path) -> None:
    """Rows update by themselves, survive a reload, and continue after a restart of the service."""
    simulator, database = Simulator(), tmp_path / "watches.sqlite3"
    async with serve(simulator) as base_url:
        env = environment(CLANFORGE_BASE_URL=base_url)
        status, rows = page.get_by_role("status"), page.locator("tbody tr")
        async with run_service(database, env) as first:
            await page.goto(first.url)
            await wait_for_text(status, "Live")
            simulator.add_image_diff(5678, duration=5, fails_at=1, outcome="failed", error="<b>disk full</b>")
            simulator.add_image_version(9012, duration=5)
            simulator.add_image_version(10001, duration=0)
            still_running = simulator.faults.add(OverrideFields.running(50), id=10001)
            async with httpx.AsyncClient(base_url=first.url) as other:
                await other.post("/watches", json=[LONG, BUILT, FAILED])
            for ref in (FAILED, BUILT, LONG):
                await wait_for_text(rows.filter(has_text=ref), "Running")
            await wait_for_text(rows.filter(has_text=FAILED), "image-diff/5678 failed: <b>disk full</b>")
            await wait_for_text(rows.filter(has_text=BUILT), "completed")
            shown = await table(page)
            assert [row[:2] for row in shown] == [[FAILED, "Failed"], [BUILT, "Completed"], [LONG, "Running"]]
            await page.reload()
            await wait_for_text(rows.filter(has_text=LONG), "Running")
            assert await table(page) == shown
            await first.stop()
            await wait_for_text(status, "Reconnecting")
        simulator.faults.remove(still_running)
        async with run_service(database, env, port=httpx.URL(first.url).port or 0):
            await wait_for_text(rows.filter(has_text=LONG), "completed")
            await wait_for_text(status, "Live")
            assert await table(page) == [*shown[:2], [LONG, "Completed", "completed"]]
