"""A simulated pipeline with two images and two build machines, a manual clock, and plain HTTP calls."""

from __future__ import annotations

from typing import Any

import httpx
from support.simulator.calling import FakeClock, http_client

from clanforge_async import JobRef
from clanforge_async.simulator import Policies, Simulator

FILES = {"bin/server": "1", "maps/quarry.pak": "1", "old.cfg": "1"}
"""Files of both images."""

BUILD = {"bin/server": "2", "maps/quarry.pak": "1", "new.cfg": "2"}
"""Files of the build `SOURCE`, described as ``build 2``."""

SOURCE = "s3://key:se%2Fcret@bucket/builds/"


class SimulatedPipeline:
    """A simulator with images 501 and 502 and build machines 77 and 78, its clock, and calls to it.

    Args:
        policies: The simulator's policies.
        image: Further arguments of `Simulator.add_image` for image 501.
        options: Further arguments of the simulator.
    """

    def __init__(self, policies: Policies | None = None, image: dict[str, Any] | None = None, **options: Any) -> None:
        self.clock = FakeClock()
        self.simulator = Simulator(clock=self.clock, policies=policies, **options)
        self.simulator.add_game(12, name="Ashfall")
        self.simulator.add_image(501, game_id=12, files=FILES, **image or {})
        self.simulator.add_image(502, game_id=12, files=FILES)
        self.simulator.add_build_machine(77)
        self.simulator.add_build_machine(78)
        self.simulator.builds[SOURCE, "build 2"] = BUILD
        self.simulator.builds[SOURCE, "no change"] = FILES

    async def get(self, path: str, *, http: dict[str, Any] | None = None, **query: Any) -> httpx.Response:
        """Send one request, such as ``imagediff/5678/status``."""
        async with http_client(self.simulator, **http or {}) as client:
            return await client.get(path if path.startswith("/") else f"/cfp/v1/{path}", params=query)

    async def ok(self, path: str, **query: Any) -> dict[str, Any]:
        """Send one request, and return the body of the successful response."""
        response = await self.get(path, **query)
        body: dict[str, Any] = response.json()
        assert response.status_code == 200
        assert not body.get("error")
        return body

    async def refused(self, path: str, **query: Any) -> tuple[int, str]:
        """Send one request, and return the status and the message of the error."""
        response = await self.get(path, **query)
        body = response.json()
        assert (body["success"], body["error"]) == (False, True)
        return response.status_code, body["error_message"]

    async def update(self, image: int = 501, machine: int = 77, desc: str = "build 2") -> JobRef:
        """Create an update."""
        query = {"imageid": image, "machineid": machine, "desc": desc, "url": SOURCE}
        return JobRef.image_update(int((await self.ok("imageupdate/create", **query))["updateid"]))

    async def diff(self, image: int = 501, machine: int = 77) -> JobRef:
        """Create a diff."""
        return JobRef.image_diff((await self.ok("imagediff/create", imageid=image, machineid=machine))["diffid"])

    async def version(self, diff: JobRef, **query: Any) -> JobRef:
        """Create a version that restarts servers at once, unless the query says otherwise."""
        query = {"diffid": diff.id, "restart": 1, "install_at": "NOW()"} | query
        body = await self.ok("imageversion/create", **{name: value for name, value in query.items() if value != ""})
        return JobRef.image_version(body["imageversionid"])

    async def status(self, ref: JobRef) -> dict[str, Any]:
        """Return the status of a job."""
        return await self.ok(f"{ref.kind.replace('-', '')}/{ref.id}/status")

    async def state(self, ref: JobRef) -> str:
        """Return the state of a job, as text."""
        name: str = (await self.status(ref))["jobstatename"]
        return name

    def finish(self, ref: JobRef) -> JobRef:
        """Advance the clock to the end of a job."""
        self.clock.now = max(self.clock.now, self.simulator.ended_at(ref))
        return ref

    async def completed_diff(self, image: int = 501, machine: int = 77, desc: str = "build 2") -> JobRef:
        """Run an update and a diff, and return the diff."""
        self.finish(await self.update(image, machine, desc))
        return self.finish(await self.diff(image, machine))

    async def released(self, image: int = 501, desc: str = "build 2", **query: Any) -> JobRef:
        """Run all three jobs, and return the version."""
        return self.finish(await self.version(await self.completed_diff(image, desc=desc), **query))

    async def installs(self) -> list[dict[str, Any]]:
        """Return the incomplete installs."""
        found: list[dict[str, Any]] = (await self.ok("imageinstall/status"))["installs"]
        return found

    async def rollout(self, image: int = 501) -> tuple[int, int, int]:
        """Return the numbers of pending, failed and completed machines."""
        body = await self.ok(f"/cfp/v2/project/1234/image/{image}/status")
        return body["pending_machines"], body["failed_machines"], body["completed_machines"]
