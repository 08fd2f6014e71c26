"""Three programs that release images, like those that users run today.

Each prints its conclusion, one line for each image, and trusts every response.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import httpx
from support.simulator.aws_signer import AwsSigner

_RUNNING = (1, 2, 3, 4)
_LOCKED = re.compile(r"image locked by diffid: (\d+)")


class ProgramError(Exception):
    """A program stops with a message."""


class SignedProgram:
    """Signs its requests, pulls builds from S3, polls every second, and breaks locks."""

    def __init__(self, transport: httpx.ASGITransport, clock: Callable[[], float], lines: list[str]) -> None:
        auth = AwsSigner("demo-access-key", "demo-secret-key", clock)
        self._http = httpx.AsyncClient(transport=transport, base_url="http://clanforge.test/cfp/v1/", auth=auth)
        self._lines = lines

    async def run(self, image_id: int, version: str, *, full: bool = False) -> None:
        """Release one image, and wait until no install is left."""
        async with self._http:
            update = await self._create_update(image_id, version)
            await self._poll(f"imageupdate/{update['updateid']}/status")
            diff = await self._get("imagediff/create", imageid=image_id, machineid=77)
            diff = await self._poll(f"imagediff/{diff['diffid']}/status")
            changes = [path for name in ("added", "modified", "removed") for path in diff.get(name, {})]
            self._lines += changes
            options = {"restart": 1, "install_at": "NOW()", "force": 1, "full": int(full or not changes)}
            created = await self._get("imageversion/create", diffid=diff["diffid"], game_build=version, **options)
            await self._poll(f"imageversion/{created['imageversionid']}/status")
            while (await self._get("imageinstall/status"))["installs"]:  # noqa: ASYNC110 - as users write it
                await asyncio.sleep(1)
            self._lines.append(f"{image_id} deployed")

    async def _create_update(self, image_id: int, version: str) -> dict[str, Any]:
        keys = f"{quote('KEY', safe='')}:{quote('se/cr%t', safe='')}"
        query = {"imageid": image_id, "machineid": 77, "desc": version, "url": f"s3://{keys}@builds/server/"}
        answer = await self._get("imageupdate/create", **query)
        if locked := _LOCKED.search(answer.get("error_message", "")):
            await self._get(f"imagediff/{locked[1]}/reject", diffid=locked[1], reinstall=0)
            answer = await self._get("imageupdate/create", **query)
        return answer

    async def _poll(self, path: str) -> dict[str, Any]:
        running = True
        while running:
            answer = await self._get(path)
            running = answer["jobstateid"] in _RUNNING
            await asyncio.sleep(1)
        if not answer["success"]:
            raise ProgramError(path)
        return answer

    async def _get(self, path: str, **query: Any) -> dict[str, Any]:
        response = await self._http.get(path, params={"accountserviceid": 1234, **query})
        body: dict[str, Any] = response.raise_for_status().json()
        return body


class _BuildTool:
    """Sends HTTP Basic, pulls builds from Steam, and stops at the version."""

    _pause: float

    def __init__(self, transport: httpx.ASGITransport, lines: list[str]) -> None:
        self._http = httpx.AsyncClient(
            transport=transport,
            base_url="http://clanforge.test/cfp/v1/",
            auth=("demo-access-key", "demo-secret-key"),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        self._lines = lines

    async def _release(self, image_id: int, build: str, *, force: int, full: int) -> None:
        source = "steam://builder:pass@install/480/?beta=staging"
        query = {"imageid": image_id, "machineid": 77, "desc": f'"{build}"', "url": source}
        update = await self._get("imageupdate/create", **query)
        await self._poll("imageupdate/status", updateid=update.get("updateid", -1))
        diff = await self._get("imagediff/create", imageid=image_id, machineid=77)
        diff_id = diff.get("diffid", -1)
        await self._poll("imagediff/status", diffid=diff_id)
        options = {"restart": 0, "force": force, "full": full}
        await self._get("imageversion/create", diffid=diff_id, game_build=f'"{build}"', **options)
        self._lines.append(f"{image_id} deployed")

    async def _poll(self, path: str, **query: Any) -> None:
        while not self._is_over(await self._get(path, **query)):  # noqa: ASYNC110 - as users write it
            await asyncio.sleep(self._pause)

    def _is_over(self, job: dict[str, Any]) -> bool:
        raise NotImplementedError

    async def _get(self, path: str, **query: Any) -> dict[str, Any]:
        response = await self._http.get(path, params={"accountserviceid": 1234, **query})
        body: dict[str, Any] = response.json()
        if body.get("error"):
            raise ProgramError(body["error_message"])
        return body


class EarlyBuildTool(_BuildTool):
    """Releases all images at once, polls every 3 s until the word Completed, and reports errors as successes."""

    _pause = 3.0

    async def run(self, image_ids: Sequence[int], build: str) -> None:
        """Release images side by side on one build machine."""
        async with self._http:
            await asyncio.gather(*(self._try_to_release(image_id, build) for image_id in image_ids))

    async def _try_to_release(self, image_id: int, build: str) -> None:
        with suppress(ProgramError):
            await self._release(image_id, build, force=0, full=1)
            return
        self._lines.append(f"{image_id} deployed")

    def _is_over(self, job: dict[str, Any]) -> bool:
        return bool(job["jobstatename"] == "Completed")


class LaterBuildTool(_BuildTool):
    """Releases one image, polls every 10 s, and mistakes the request's success for the job's."""

    _pause = 10.0

    async def run(self, image_id: int, build: str, *, full: bool = False) -> None:
        """Release one image."""
        async with self._http:
            await self._release(image_id, build, force=1, full=int(full))

    def _is_over(self, job: dict[str, Any]) -> bool:
        if job["jobstatename"] not in ("Completed", "Failed"):
            return False
        if job.get("success") is False:
            raise ProgramError(str(job.get("joberror")))
        return True
