"""A network between releases and the simulator that fails at random, and records the calls that were processed."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from typing import Any

import httpx
from attrs import define, field

_CALL = re.compile(r"/cfp/v1/(imageupdate|imagediff|imageversion)/(?:(?P<id>[0-9]+)/)?(?P<verb>create|retry|reject)")
_IDS = {"imageupdate": "updateid", "imagediff": "diffid", "imageversion": "imageversionid"}


@define
class Ledger:
    """The calls that the server processed for the releases.

    Attributes:
        acted: How often each call was carried out, by call and by the image or job that it is about.
        created: The jobs that were created, by kind.
        foreign: Calls on another client's job.
    """

    acted: Counter[tuple[str, int]] = field(factory=Counter)
    created: dict[str, set[int]] = field(factory=lambda: {kind: set() for kind in _IDS})
    foreign: list[str] = field(factory=list)

    def add(self, request: httpx.Request, body: dict[str, Any]) -> None:
        """Record a processed call."""
        match = _CALL.fullmatch(request.url.path)
        if match is None or body.get("error"):
            return
        kind, verb, query = match[1], match["verb"], request.url.params
        if verb == "create":
            about = int(query.get("imageid") or query["diffid"])
            self.created[kind].add(int(body[_IDS[kind]]))
        else:
            about = int(match["id"])
        self.acted[f"{kind} {verb}", about] += 1

    def check(self, request: httpx.Request) -> None:
        """Record a call on a job that none of the releases created."""
        match = _CALL.fullmatch(request.url.path)
        if match is None:
            return
        kind = "imagediff" if match["verb"] == "create" else match[1]
        job = match["id"] or request.url.params.get("diffid")
        if job is not None and int(job) not in self.created[kind]:
            self.foreign.append(str(request.url))


class FlakyTransport(httpx.AsyncBaseTransport):
    """Forwards requests to the simulator, fails some of them, and can crash the process at one of them.

    Args:
        app: The simulator's app.
        ledger: Notes what the server does.
        rng: Decides which requests fail.
        share: The share of requests that fail.
        dies_at: The number of the request at which the process dies; 0: none.
    """

    def __init__(self, app: Any, ledger: Ledger, rng: random.Random, share: float, dies_at: int) -> None:
        self._inner = httpx.ASGITransport(app=app)
        self._ledger = ledger
        self._rng = rng
        self._share = share
        self._dies_at = dies_at
        self._requests = 0
        self.died = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Respond to a request, fail, or never return."""
        self._requests += 1
        is_last = self._requests == self._dies_at
        fault = self._rng.choice(_FAULTS) if self._rng.random() < self._share else ""
        if is_last and self._rng.random() < 0.5:
            self.died.set()
        if self.died.is_set():
            await asyncio.Event().wait()
        await asyncio.sleep(self._rng.choice([0.0, 0.05, 0.4]))
        if fault == "lost":
            msg = "lost on the way"
            raise httpx.ReadError(msg, request=request)
        if fault == "refused":
            return httpx.Response(503, text="<html>unavailable</html>")
        if fault == "throttled":
            return httpx.Response(429, headers={"Retry-After": "2"})
        response = await self._answer(request)
        if is_last:
            self.died.set()
            await asyncio.Event().wait()
        if fault == "answer lost":
            msg = "the answer was lost"
            raise httpx.ReadError(msg, request=request)
        return httpx.Response(504, text="<html>timeout</html>") if fault == "gateway" else response

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self._ledger.check(request)
        response = await self._inner.handle_async_request(request)
        content = await response.aread()
        if response.status_code == httpx.codes.OK:
            self._ledger.add(request, json.loads(content))
        headers = [(name, value) for name, value in response.headers.raw if name.lower() != b"content-length"]
        return httpx.Response(response.status_code, headers=headers, content=content)


_FAULTS = ("lost", "refused", "throttled", "answer lost", "gateway")
