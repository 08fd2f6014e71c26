"""Games, their images, build machines, and the machines that run an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from attrs import define, field, frozen

from clanforge_async.jobs import JobState
from clanforge_async.refs import JobRef
from clanforge_async.simulator.payloads import Quirks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clanforge_async.simulator.auth import Account
    from clanforge_async.simulator.builds import Files
    from clanforge_async.simulator.jobs import JobRecord, Task

REGIONS = ("Europe", "North America")
"""Names of the regions of each image's fleet; their machines alternate between them."""


@define(eq=False, kw_only=True)
class Game:
    """A game.

    Attributes:
        id: Its id.
        name: Its name.
        account: The account that it belongs to.
    """

    id: int
    name: str
    account: Account


@define(eq=False, kw_only=True)
class BuildMachine:
    """A machine that pulls builds and packages images, one job at a time.

    Attributes:
        id: Its id.
        name: Its name.
        account: The account that it belongs to.
        files: The files of each image that has been updated on it, by image id.
        tasks: Its unfinished tasks, and possibly some finished ones.
    """

    id: int
    name: str
    account: Account
    files: dict[int, Files] = field(factory=dict[int, "Files"])
    tasks: list[Task] = field(factory=list["Task"])

    def free_at(self, now: float) -> float:
        """Return the time at which it has finished all tasks; infinite if one of them never ends."""
        self.tasks = [task for task in self.tasks if task.schedule.ended > now]
        return max((task.schedule.ended for task in self.tasks), default=now)

    def files_of(self, image: Image) -> Files:
        """Return its files of an image: those of the latest version until an update changes them."""
        return self.files.get(image.id, image.files)


@define(eq=False, kw_only=True)
class Server:
    """A machine that runs an image.

    Attributes:
        name: Its name.
        region: Index of its region in `REGIONS`.
        version: The id of the image version that it runs.
        disabled: Whether it is disabled because an install failed.
    """

    name: str
    region: int
    version: int
    disabled: bool = False

    @property
    def location(self) -> str:
        """The name of its region."""
        return REGIONS[self.region]

    def progress(self, version: int) -> Literal["pending", "failed", "completed"]:
        """Return its state in the rollout of a version."""
        if self.disabled:
            return "failed"
        return "completed" if self.version == version else "pending"


@define(eq=False, kw_only=True)
class Image:
    """An image.

    Attributes:
        id: Its id.
        game: The game that it belongs to.
        files: The files of its latest version.
        version: The id of its latest version.
        game_version_id: The id of its game version.
        servers: The machines that run it.
        mirrors: The names of the mirrors that new versions are copied to.
        created: The time of its creation, in Unix seconds.
        updated: The time of its last change.
        active: Whether it is active.
        allocations: Number of its servers that are allocated.
        update_url: Its default source, if any.
        last_full: Whether its latest version is a full one.
        quirks: Deviations of its JSON from the documentation.
        game_build: The name of its latest build, if one was given.
        deployed: The id of the version that the rollout counts concern.
        diff: The open diff, which locks it.
        update: Its latest update.
    """

    id: int
    game: Game
    files: Files
    version: int
    game_version_id: int
    servers: list[Server]
    mirrors: tuple[str, ...]
    created: float
    updated: float
    active: bool = True
    allocations: int = 0
    update_url: str | None = None
    last_full: bool = False
    quirks: Quirks = field(factory=Quirks)
    game_build: str | None = None
    deployed: int = field(init=False)
    diff: JobRecord | None = None
    update: JobRecord | None = None

    def __attrs_post_init__(self) -> None:
        """Count the rollout of the first version."""
        self.deployed = self.version

    @property
    def name(self) -> str:
        """Its name."""
        return f"{self.game.name} {self.id}"

    @property
    def path(self) -> str:
        """Its path on the machines."""
        return f"/games/{self.game.id}/{self.id}"

    def locked_by(self, now: float, *, by_update: bool) -> JobRef | None:
        """Return the diff or, if updates lock images, the unfinished update that locks it."""
        if self.diff is not None:
            return self.diff.ref
        if by_update and self.update is not None and not self.update.state_at(now).is_terminal:
            return self.update.ref
        return None


@frozen(kw_only=True)
class SimulatedInstall:
    """The actual state of an install.

    Attributes:
        id: Its job id.
        image_version_id: The id of the version that it installs.
        machine: The name of its machine; that of its mirror if it is an install to a mirror.
        state: Its state.
    """

    id: int
    image_version_id: int
    machine: str
    state: JobState


@frozen(kw_only=True)
class SimulatedImage:
    """The actual state of an image.

    Attributes:
        id: Its id.
        active: Whether it is active.
        files: The files of its latest version, by path.
        version: The id of its latest version.
        is_full: Whether that is a full version.
        game_build: The name of its latest build, if one was given.
        lock: The diff or update that locks it; None if it is free.
        installs: All its installs so far, oldest first.
        machines: The id of the version that each of its machines runs, by name.
        disabled: The names of its disabled machines.
    """

    id: int
    active: bool
    files: Mapping[str, object]
    version: int
    is_full: bool
    game_build: str | None
    lock: JobRef | None
    installs: tuple[SimulatedInstall, ...]
    machines: Mapping[str, int]
    disabled: frozenset[str]
