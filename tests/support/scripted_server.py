"""A scripted server: each test lists the responses for its jobs."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import httpx

from clanforge_async import ClanforgeClient, JobKind, JobState

START = 1_763_769_600
"""2025-11-22 00:00:00 UTC: the scripted server's time when a virtual loop starts."""

_PATH = re.compile(r"/cfp/v[12]/(?:project/[0-9]+/)?(image[a-z]*)/(?:([0-9]+)/)?([a-z]+)")

Answer = httpx.Response | dict[str, Any] | Exception
Script = Callable[[], Answer | Awaitable[Answer]]


def server_now() -> float:
    """Return the scripted server's time, which follows the event loop's clock."""
    return START + asyncio.get_running_loop().time()


def wire(job_id: int, state: JobState | None = JobState.RUNNING, **fields: Any) -> dict[str, Any]:
    """Return the JSON object that the API sends for a job; `fields` override its defaults."""
    usual: dict[str, Any] = {
        "updateid": job_id,
        "diffid": job_id,
        "imageversionid": job_id,
        "jobcreated": START - 60,
        "joberror": None,
        "jobeta": None,
        "jobfailed": 0,
        "jobprogress": 100 if state is JobState.COMPLETED else 50,
        "jobstart": str(START - 30),
        "jobstateid": None if state is None else int(state),
        "jobstatename": "Unknown" if state is None else state.name.title(),
        "jobupdated": START,
        "success": True,
    }
    return usual | fields


def answer(body: dict[str, Any], status: int = 200, **headers: str) -> httpx.Response:
    """Return a response of the API, with the scripted server's time as its ``Date``."""
    date = format_datetime(datetime.fromtimestamp(int(server_now()), UTC), usegmt=True)
    return httpx.Response(status, json=body, headers={"Date": date, **headers})


def envelope(message: str, code: int = 1) -> dict[str, Any]:
    """Return an error envelope of the API."""
    return {
        "success": False,
        "error": True,
        "error_code": code,
        "error_message": message,
        "messages": [],
        "_debug": [],
    }


class ScriptedServer:
    """Responds to each call according to a script, and records the requests.

    Attributes:
        asked: Event loop times of the requests for each ``(call, id)``, such as ``("imagediff/retry", 5)``; 0 without
            an id.
        in_flight: Number of requests that wait for their response.
        most_in_flight: Largest `in_flight` so far.
    """

    def __init__(self) -> None:
        self.asked: dict[tuple[str, int], list[float]] = defaultdict(list)
        self.requests: list[httpx.Request] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self._scripts: dict[tuple[str, int], Script] = {}

    def on(self, call: str, job_id: int, script: Script) -> None:
        """Respond to a call with the result or exception of a function."""
        self._scripts[call, job_id] = script

    def version(self, job_id: int, *answers: Answer) -> None:
        """Respond to an image version's status with each of these in turn, then always with the last."""
        self.on("imageversion/status", job_id, in_turn(*answers))

    def diff(self, job_id: int, *answers: Answer) -> None:
        """Respond to an image diff's status with each of these in turn, then always with the last."""
        self.on("imagediff/status", job_id, in_turn(*answers))

    def retry(self, job_id: int, *answers: Answer) -> None:
        """Respond to an image diff's retry with each of these in turn, then always with the last."""
        self.on("imagediff/retry", job_id, in_turn(*answers))

    def polls(self, job_id: int, kind: JobKind = JobKind.IMAGE_VERSION) -> list[float]:
        """Return the event loop times of a job's status requests."""
        return self.asked[f"{kind.replace('-', '')}/status", job_id]

    def client(self, **options: Any) -> ClanforgeClient:
        """Return a client of this server, without a rate limit by default."""
        arguments: dict[str, Any] = {
            "auth": ("key", "secret"),
            "account_service_id": 7,
            "max_rate": None,
            "transport": httpx.MockTransport(self._handle),
        }
        return ClanforgeClient(**(arguments | options))

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        match = _PATH.fullmatch(request.url.path)
        assert match is not None, request.url
        key = f"{match[1]}/{match[3]}", int(match[2] or 0)
        self.asked[key].append(asyncio.get_running_loop().time())
        self.requests.append(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(0)  # other tasks run before any response
            result = self._scripts[key]()
            if isinstance(result, Awaitable):
                result = await result
        finally:
            self.in_flight -= 1
        if isinstance(result, Exception):
            raise result
        return answer(result) if isinstance(result, dict) else result


def in_turn(*answers: Answer) -> Script:
    """Return a script that returns each response once, then always the last."""
    left = list(answers)

    def script() -> Answer:
        return left.pop(0) if len(left) > 1 else left[0]

    return script
