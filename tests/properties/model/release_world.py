"""One random world of releases: other clients, faults, crashes, cancellations, and every policy of the server."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from contextlib import suppress

from properties.model.release_network import FlakyTransport, Ledger
from support.release_worlds import SOURCE, ReleaseWorld
from support.virtual_time import run_in_virtual_time

from clanforge_async import (
    BadRequestError,
    ClanforgeClient,
    ClanforgeError,
    ImageRelease,
    JobFailedError,
    JobRef,
    JobWatcher,
    OutcomeUnknownError,
    ReleaseError,
    Releaser,
    ReleaseRejectedError,
    ReleaseResult,
    ReleaseToken,
)
from clanforge_async.simulator import Policies

_FAILING = {
    "update": ("created,running:9,failed", "created,running:4,squashed"),
    "diff": ("created,running:9,failed", "created,running:4,squashed"),
    "version": ("created,running:9,failed", "created,running:4,squashed"),
    "install": ("created,running:9,failed",),
}
_LIVES = 8
"""Processes that a release may have: after that, it is aborted."""


class RandomReleases:
    """One to three releases of different images, in a world drawn from a seed.

    Args:
        seed: The seed.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        rng = self.rng
        policies = Policies(
            lock_ends=rng.choice(["created", "completed"]),
            omitted_install_at="now",
            empty_diff=rng.choice(["refuse", "full"]),
            install_lag=rng.choice([0.0, 10.0, 60.0]),
            lock_by_update=rng.random() < 0.7,
        )
        self.world = ReleaseWorld(
            policies,
            seed=seed,
            machines=rng.randint(1, 3),
            last_full=rng.random() < 0.2,
            allocations=rng.choice([0, 0, 2]),
        )
        self.world.simulator.add_build_machine(78)
        self.ledger = Ledger()
        self.exclusive = rng.random() < 0.5
        self.has_rivals = not self.exclusive and rng.random() < 0.5
        self.share = rng.choice([0.0, 0.0, 0.03, 0.15])
        self.retries = rng.choice([0, 1, 2])
        self.tokens: list[ReleaseToken] = []
        self.foreign: set[JobRef] = set()
        self.recreated = {"imageupdate create"}
        for kind, runs in _FAILING.items():
            if rng.random() < 0.15:
                if kind == "diff":  # a squashed diff holds no lock, so after an unknown outcome it is created again
                    self.recreated.add("imagediff create")
                self.world.simulator.script(kind, *(rng.choice(runs) for _ in range(rng.randint(1, 2))))  # type: ignore[arg-type]

    def releases(self) -> list[ImageRelease]:
        """Draw the releases."""
        rng = self.rng
        return [
            ImageRelease(
                image_id,
                77,
                rng.choice(["build 2", "build 2", "build 2", "no change"]),
                SOURCE,
                restart=rng.random() < 0.5,
                force=rng.random() < 0.8,
                full=rng.random() < 0.2,
                on_empty=rng.choice(["stop", "full"]),
                wait_for=rng.choice(["rollout", "rollout", "version"]),
            )
            for image_id in rng.sample([501, 502, 503], rng.randint(1, 3))
        ]

    async def play(self) -> None:
        """Let all releases end, whatever happens."""
        rivals = [asyncio.ensure_future(self._rival(image_id)) for image_id in (501, 502) if self.has_rivals]
        processes = [self._live(release) for release in self.releases()]
        await asyncio.gather(*processes)
        for rival in rivals:
            rival.cancel()
            with suppress(asyncio.CancelledError):
                await rival
        self._check_ledger()

    async def _rival(self, image_id: int) -> None:
        """Sometimes lock the image and free it again, or release another build from another machine."""
        async with self.world.client() as client, JobWatcher(client) as watcher:
            while True:
                await asyncio.sleep(self.rng.uniform(5.0, 200.0))
                with suppress(ValueError, ClanforgeError):
                    if self.rng.random() < 0.6:
                        await self._lock_for_a_while(client, image_id)
                    else:
                        await self._release_another(client, watcher, image_id)

    async def _lock_for_a_while(self, client: ClanforgeClient, image_id: int) -> None:
        diff = self.world.simulator.lock(image_id)
        self.foreign.add(diff)
        await asyncio.sleep(self.rng.uniform(1.0, 40.0))
        assert self.world.simulator.image(image_id).lock == diff, "a rival's lock was broken"
        await client.image_diffs.reject(diff.id, reinstall=False)

    async def _release_another(self, client: ClanforgeClient, watcher: JobWatcher, image_id: int) -> None:
        await watcher.wait(await client.image_updates.create(image_id, 78, "a rival's", SOURCE))
        diff = await client.image_diffs.create(image_id, 78)
        self.foreign.add(diff.ref)
        await watcher.wait(diff)
        await client.image_versions.create(diff.id, restart=True, force=True)

    async def _live(self, release: ImageRelease) -> None:
        token: ReleaseToken | None = None
        for life in range(_LIVES):
            ended, token = await self._process(release, token, may_die=life < _LIVES - 2)
            if isinstance(ended, ReleaseResult):
                self._check_result(release, ended)
                return
            if isinstance(ended, ReleaseError):
                self._check_error(ended)
                if not _may_go_on(ended, self.rng):
                    break
            await asyncio.sleep(self.rng.uniform(0.0, 30.0))
        if token is not None:
            await self._abort(release, token)

    async def _process(
        self, release: ImageRelease, token: ReleaseToken | None, *, may_die: bool
    ) -> tuple[ReleaseResult | ReleaseError | None, ReleaseToken | None]:
        """Run one process: it ends, dies at a request, or is cancelled. Return how it ended, and the last token."""
        rng = self.rng
        dies_at = rng.choice([0, rng.randint(1, 40)]) if may_die else 0
        transport = FlakyTransport(self.world.simulator.app, self.ledger, rng, self.share, dies_at)
        journal = [token]
        running = asyncio.ensure_future(self._run(transport, release, token, journal))
        death = asyncio.ensure_future(transport.died.wait())
        timeout = rng.choice([None, None, rng.uniform(0.0, 200.0)]) if may_die else None
        await asyncio.wait({running, death}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        death.cancel()
        running.cancel()
        await asyncio.wait({running, death})
        ended = None if running.cancelled() else running.result()
        return ended, journal[-1]

    async def _run(
        self,
        transport: FlakyTransport,
        release: ImageRelease,
        token: ReleaseToken | None,
        journal: list[ReleaseToken | None],
    ) -> ReleaseResult | ReleaseError:
        def keep(new: ReleaseToken) -> None:
            assert ReleaseToken.parse(str(new)) == new
            if not transport.died.is_set():
                journal.append(new)

        async with self.world.client(transport) as client, JobWatcher(client, interval=15.0) as watcher:
            releaser = Releaser(
                client,
                watcher=watcher,
                journal=keep,
                exclusive=self.exclusive,
                job_retries=self.retries,
                lock_wait=self.rng.choice([0.0, 100.0]),
                tolerate_failed=self.rng.choice([0, 3]),
            )
            try:
                return await releaser.run(
                    release,
                    resume=None if token is None else str(token),
                    approve=self.rng.choice([True, True, True, False]),
                    timeout=self.rng.choice([None, None, self.rng.uniform(0.0, 150.0)]),
                )
            except ReleaseError as error:
                return error

    async def _abort(self, release: ImageRelease, token: ReleaseToken) -> None:
        async with self.world.client() as client, Releaser(client, exclusive=self.exclusive) as releaser:
            try:
                result = await releaser.abort(token)
            except ReleaseError:
                if token.intent is None or token.intent.call != "version":
                    raise
                return  # the diff was accepted, but the version is unknown
        lock = self.world.simulator.image(release.image_id).lock
        assert result.lock == lock
        is_own = lock is not None and lock.id in self.ledger.created[lock.kind.replace("-", "")]
        is_in_doubt = token.intent is not None
        assert not is_own or result.version is not None or is_in_doubt, f"{lock} is left behind by {token}"

    def _check_result(self, release: ImageRelease, result: ReleaseResult) -> None:
        image = self.world.simulator.image(release.image_id)
        if result.outcome == "released":
            assert result.token.version is not None
            assert image.version >= result.token.version.id
            assert image.version > result.token.version.id or image.files == self._build_of(release)
        if result.outcome == "released" and release.wait_for == "rollout":
            running = {version for name, version in image.machines.items() if name not in image.disabled}
            assert all(version >= result.token.version.id for version in running), (result.token, image)  # type: ignore[union-attr]
        if result.outcome == "unchanged":
            assert image.lock is None or image.lock in self.foreign

    def _build_of(self, release: ImageRelease) -> Mapping[str, object]:
        return self.world.simulator.builds[SOURCE, release.description]

    def _check_error(self, error: ReleaseError) -> None:
        assert error.__cause__ is not None or type(error) is not ReleaseError
        assert ReleaseToken.parse(str(error.token)) == error.token

    def _check_ledger(self) -> None:
        assert self.ledger.foreign == []
        for (call, about), count in self.ledger.acted.items():
            if call.endswith("retry"):
                assert count <= self.retries, (call, about, count)
            elif not self.exclusive or call not in self.recreated:
                assert count <= 1, (call, about, count)


def _may_go_on(error: ReleaseError, rng: random.Random) -> bool:
    if isinstance(error, ReleaseRejectedError):
        return rng.random() < 0.1
    is_lasting = isinstance(error.__cause__, OutcomeUnknownError | JobFailedError | BadRequestError)
    return rng.random() < (0.2 if is_lasting else 0.9)


def run_release_world(seed: int) -> None:
    """Run the world of a seed; the same seed runs the same world."""

    async def play() -> None:
        await RandomReleases(seed).play()

    run_in_virtual_time(play())
