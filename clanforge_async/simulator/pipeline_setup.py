"""The methods of a simulator that set up its image pipeline and return its actual state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clanforge_async.refs import JobRef
from clanforge_async.simulator.builds import Builds, Files, is_source, random_files
from clanforge_async.simulator.errors import RequestRefusedError
from clanforge_async.simulator.events import EventQueue
from clanforge_async.simulator.images import REGIONS, BuildMachine, Game, Image, Server, SimulatedImage
from clanforge_async.simulator.pipeline import Pipeline
from clanforge_async.simulator.policies import Policies
from clanforge_async.simulator.runs import Run
from clanforge_async.simulator.tasks import TaskFactory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from clanforge_async.simulator.auth import Account
    from clanforge_async.simulator.jobs import JobStore
    from clanforge_async.simulator.payloads import Quirks
    from clanforge_async.simulator.tasks import Scriptable

_PATHS = ("bin/server", "bin/server.so", "maps/harbour.pak", "maps/quarry.pak", "server.cfg", "version.txt")


class PipelineSetup:
    """Base of `Simulator`: its games, images and build machines."""

    def __init__(
        self,
        jobs: JobStore,
        clock: Callable[[], float],
        *,
        speed: float,
        seed: int,
        quirks: bool,
        policies: Policies | None,
    ) -> None:
        self.clock = clock
        self.builds: Builds = Builds(seed)
        self._jobs = jobs
        self._seed = seed
        self._tasks = TaskFactory(jobs, seed, speed, quirks=quirks)
        self._pipeline = Pipeline(self._tasks, EventQueue(), self.builds, policies or Policies(), speed)

    def add_game(self, id: int, *, name: str | None = None, account: Account | None = None) -> None:  # noqa: A002
        """Add a game.

        Args:
            id: Its id.
            name: Its name; None: one with the id.
            account: The account that it belongs to; None: the first.

        Raises:
            ValueError: The game exists, or the account is not one of the simulator's.
        """
        _check_new(self._pipeline.games, id, "game")
        self._pipeline.games[id] = Game(id=id, name=name or f"Game {id}", account=self._account(account))

    def add_image(
        self,
        id: int,  # noqa: A002 - its name everywhere else
        *,
        game_id: int,
        files: Mapping[str, object] | None = None,
        machines: int | Sequence[str] = 3,
        allocations: int = 0,
        update_url: str | None = None,
        last_full: bool = False,
        mirrors: int = 0,
        quirks: Quirks | None = None,
    ) -> None:
        """Add an image with one version, which all its machines run.

        Args:
            id: Its id.
            game_id: The game that it belongs to, added if it is unknown.
            files: The files of its version by path; files with equal values have the same content. None: drawn from
                the seed.
            machines: The number or the names of the machines that run it.
            allocations: The number of its servers that are allocated.
            update_url: Its default source.
            last_full: Whether its version is a full one.
            mirrors: The number of mirrors that new versions are copied to.
            quirks: The quirks of its JSON; None: drawn at random or none, by the simulator's ``quirks``.

        Raises:
            ValueError: The image exists, or the default source is not a source URL.
        """
        _check_new(self._pipeline.images, id, "image")
        _check_url(update_url)
        if game_id not in self._pipeline.games:
            self.add_game(game_id)
        names = [f"{id}-{number}" for number in range(1, machines + 1)] if isinstance(machines, int) else machines
        version, now = self._jobs.new_id(), self.clock()
        self._pipeline.images[id] = Image(
            id=id,
            game=self._pipeline.games[game_id],
            files=random_files(_PATHS, f"{self._seed}/image/{id}") if files is None else dict(files),
            version=version,
            game_version_id=version + 1_000_000,
            servers=[
                Server(name=str(name), region=number % len(REGIONS), version=version)
                for number, name in enumerate(names)
            ],
            mirrors=tuple(f"mirror-{id}-{number}" for number in range(1, mirrors + 1)),
            created=now,
            updated=now,
            allocations=allocations,
            update_url=update_url,
            last_full=last_full,
            quirks=quirks or self._tasks.random_quirks(f"{self._seed}/image/{id}"),
        )

    def add_build_machine(
        self,
        id: int,  # noqa: A002 - its name everywhere else
        *,
        name: str | None = None,
        files: Mapping[int, Mapping[str, object]] | None = None,
        account: Account | None = None,
    ) -> None:
        """Add a build machine.

        Args:
            id: Its id.
            name: Its name; None: one with the id.
            files: Builds that were put on it manually: files by image id. It has the latest version of all other
                images.
            account: The account that it belongs to; None: the first.

        Raises:
            ValueError: The machine exists, or the account is not one of the simulator's.
        """
        _check_new(self._pipeline.machines, id, "build machine")
        builds: dict[int, Files] = {image_id: dict(build) for image_id, build in (files or {}).items()}
        self._pipeline.machines[id] = BuildMachine(
            id=id, name=name or f"build-{id}", account=self._account(account), files=builds
        )

    def lock(self, image_id: int) -> JobRef:
        """Let another client's diff lock an image, and return that completed diff.

        Raises:
            ValueError: The image is already locked.
            LookupError: There is no such image.
        """
        image, now = self._image(image_id), self.clock()
        machine = BuildMachine(id=1, name="build-1", account=image.game.account)
        try:
            record = self._pipeline.create_diff(image, machine, now, Run(states="completed"))
        except RequestRefusedError as error:
            raise ValueError(error.message) from None
        return record.ref

    def script(self, kind: Scriptable, *runs: Run | str) -> None:
        """Define the runs of the next jobs of a kind that are created or retried, in order. Later jobs complete.

        Args:
            kind: ``update``, ``diff``, ``version`` or ``install``.
            *runs: The run of each job, or its states as text.

        Raises:
            ValueError: The kind is unknown, or the states are invalid.
        """
        self._tasks.script(kind, [as_run(run) for run in runs])

    def image(self, id: int) -> SimulatedImage:  # noqa: A002 - its name everywhere else
        """Return the actual state of an image.

        Raises:
            LookupError: There is no such image.
        """
        image, now = self._image(id), self.clock()
        return SimulatedImage(
            id=id,
            active=image.active,
            files=image.files,
            version=image.version,
            is_full=image.last_full,
            game_build=image.game_build,
            lock=self._pipeline.lock_of(image, now),
            installs=self._pipeline.installs.of_image(image, now),
            machines={server.name: server.version for server in image.servers},
            disabled=frozenset(server.name for server in image.servers if server.disabled),
        )

    def files_on(self, machine_id: int, image_id: int) -> Mapping[str, object]:
        """Return a build machine's files of an image, by path.

        Raises:
            LookupError: There is no such machine or image.
        """
        image = self._image(image_id)
        if machine_id not in self._pipeline.machines:
            msg = f"there is no build machine {machine_id}"
            raise LookupError(msg)
        return self._pipeline.machines[machine_id].files_of(image)

    def _image(self, image_id: int) -> Image:
        self._pipeline.advance(self.clock())
        image = self._pipeline.images.get(image_id)
        if image is None:
            msg = f"there is no image {image_id}"
            raise LookupError(msg)
        return image

    def _account(self, account: Account | None) -> Account:
        account = account or self._jobs.accounts[0]
        if account not in self._jobs.accounts:
            msg = f"account {account.account_service_id} is not one of the simulator's"
            raise ValueError(msg)
        return account


def as_run(run: Run | str) -> Run:
    """Return a run, which may be given as its states."""
    return Run(states=run) if isinstance(run, str) else run


def _check_new(known: Mapping[int, object], new_id: int, noun: str) -> None:
    if new_id in known:
        msg = f"{noun} {new_id} already exists"
        raise ValueError(msg)


def _check_url(url: str | None) -> None:
    if url is not None and not is_source(url):
        msg = "update_url is not a source URL"
        raise ValueError(msg)
