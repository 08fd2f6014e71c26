"""Parts of the example service: checked requests, a bounded event stream and a bounded store."""

from __future__ import annotations

import asyncio
import importlib
import re
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.examples.example_process import EXAMPLES
from support.virtual_time import now, virtual_time


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import the service's modules as a package."""
    monkeypatch.syspath_prepend(EXAMPLES)
    importlib.import_module("service.app")
    return importlib.import_module("service")


async def test_an_invalid_request_is_rejected(service: Any, tmp_path: Path) -> None:
    """An invalid or cross-site request is rejected with an error and starts no watch."""
    app = service.app.make_app(tmp_path / "watches.sqlite3", service.board.Board())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as browser:
        for body in ('["image-version/9012", "nope/1"]', '"image-version/9012"', "[9012]", "{}", "[", ""):
            refused = await browser.post("/watches", content=body, headers={"Content-Type": "application/json"})
            assert (refused.status_code, list(refused.json())) == (400, ["error"])
        for content_type in ("text/plain", "application/x-www-form-urlencoded"):
            forged = await browser.post("/watches", content="[]", headers={"Content-Type": content_type})
            assert forged.status_code == 415
        assert (await browser.get("/watches")).json() == []


async def test_the_page_is_self_contained_and_escapes(service: Any, tmp_path: Path) -> None:
    """The page loads nothing from other hosts and inserts no text as HTML."""
    app = service.app.make_app(tmp_path / "watches.sqlite3", service.board.Board())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as browser:
        page = (await browser.get("/")).text
    assert "EventSource" in page
    assert not re.search(r"\bsrc=|https?:|innerHTML|insertAdjacentHTML", page)


def test_a_slow_client_gets_only_the_latest_rows(service: Any) -> None:
    """A slow client is sent only the latest row of each changed job."""
    board, row = service.board.Board(), service.board.Row
    board.show(row("image-version/1"))
    board.show(row("image-version/2"))
    seen, rows = board.since(0)
    assert [shown.ref for shown in rows] == ["image-version/1", "image-version/2"]
    for progress in range(1000):
        board.show(row("image-version/1", "Running", progress % 100))
    assert board.since(seen) == (1002, [row("image-version/1", "Running", 99)])
    board.forget("image-version/1")
    assert board.since(0) == (1002, [row("image-version/2")])


@virtual_time
async def check_heartbeat(service: Any) -> None:
    board = service.board.Board()
    stream = service.app.events(board)
    assert [await anext(stream), await anext(stream)] == ["retry: 1000\n\n", "event: snapshot\ndata: []\n\n"]
    assert await anext(stream) == ": nothing new\n\n"
    assert now() == service.app.HEARTBEAT
    board.show(service.board.Row("image-version/1"))
    assert (await anext(stream)).startswith('event: update\ndata: [{"ref": "image-version/1", ')
    board.close()
    assert [event async for event in stream] == []


def test_an_idle_stream_sends_comments(service: Any) -> None:
    """The first event has all rows; without changes, comments keep the stream alive."""
    check_heartbeat(service)


@virtual_time
async def check_disconnect(app: Any) -> None:
    left = asyncio.Event()

    async def receive() -> MutableMapping[str, Any]:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        if b"snapshot" in message.get("body", b""):
            left.set()

    scope = {"type": "http", "method": "GET", "path": "/events", "headers": [], "query_string": b""}
    await app(scope, receive, send)


def test_a_stream_ends_with_its_client(service: Any, tmp_path: Path) -> None:
    """A stream is closed when its client disconnects."""
    board = service.board.Board()
    check_disconnect(service.app.make_app(tmp_path / "watches.sqlite3", board))
    assert board.since(0) == (0, [])


def test_only_the_latest_results_are_kept(service: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old results are deleted, active watches never."""
    monkeypatch.setattr(service.store, "KEPT", 2)
    store, row = service.store.Store(tmp_path / "watches.sqlite3"), service.board.Row
    for number in range(1, 6):
        store.save(row(f"image-version/{number}", outcome=None if number == 1 else "completed"))
    assert store.forget() == ["image-version/2", "image-version/3"]
    assert [kept.ref for kept in store.rows()] == ["image-version/1", "image-version/4", "image-version/5"]
    store.close()
