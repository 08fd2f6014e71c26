"""Images, rollouts and installs as frozen values: responses other than jobs, and jobs that no call reads by id."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from attrs import Attribute, field, frozen

from clanforge_async._validation import is_number, positive_id
from clanforge_async.jobs import HasState, JobState, JobStatus
from clanforge_async.refs import JobRef

_PERCENT = 100


@frozen(kw_only=True)
class ImageEntry:
    """An image in a list of images.

    Attributes:
        id: Id of the image.
        name: Name of the image.
        game_version_id: Version of the game that the image belongs to; None if the server names none.
    """

    id: int
    name: str
    game_version_id: int | None = None


def _hide_url(url: str | None) -> str:
    return "None" if url is None else "***"


@frozen(kw_only=True)
class ImageOptions:
    """Choices for an image update, and the lock of an image ("Image options").

    Attributes:
        game_id: The game that was requested or found; None without an image.
        image_id: The image that was requested.
        lock: The diff or update that locks this image; None if it is not locked, or no image was requested.
        update_url: Default source of the image. It may contain credentials, so the repr hides it.
        games: Names of the account's games, by id.
        images: Images of the game, by id.
        machines: Names of the build machines, by id.
    """

    game_id: int | None = None
    image_id: int | None = None
    lock: JobRef | None = None
    update_url: str | None = field(default=None, repr=_hide_url)
    games: Mapping[int, str] = field(factory=dict[int, str], hash=False)
    images: Mapping[int, ImageEntry] = field(factory=dict[int, ImageEntry], hash=False)
    machines: Mapping[int, str] = field(factory=dict[int, str], hash=False)


@frozen(kw_only=True)
class Image:
    """Record of an image ("Image update").

    Attributes:
        id: Id of the image.
        active: Whether the image is active.
        game_version_id: Version of the game that the image belongs to.
        latest_version_id: Latest image version.
        path: Path of the image on a machine.
        created_by: Id of the user who created the image.
        updated_by: Id of the user who updated the image last.
        created_at: Time of creation, as the server sent it.
        updated_at: Time of the last update, as the server sent it.
    """

    id: int
    active: bool
    game_version_id: int | None = None
    latest_version_id: int | None = None
    path: str | None = None
    created_by: int | None = None
    updated_by: int | None = None
    created_at: str | None = None
    updated_at: str | None = None


@frozen(kw_only=True)
class MachineCounts:
    """Numbers of machines in a rollout.

    Attributes:
        pending: Running machines that still wait for the install.
        failed: Disabled machines that cannot install.
        completed: Running machines on which the image is installed.
    """

    pending: int = 0
    failed: int = 0
    completed: int = 0

    @property
    def total(self) -> int:
        """Number of pending, failed and completed machines together."""
        return self.pending + self.failed + self.completed


@frozen(kw_only=True)
class RegionRollout(MachineCounts):
    """Numbers of machines in one region of a fleet.

    Attributes:
        name: Name of the region.
    """

    name: str = ""


@frozen(kw_only=True)
class FleetRollout(MachineCounts):
    """Numbers of machines in one fleet.

    Attributes:
        regions: The fleet's regions, by id.
    """

    regions: Mapping[int, RegionRollout] = field(factory=dict[int, RegionRollout], hash=False)


@frozen(kw_only=True)
class ImageRollout(MachineCounts):
    """Numbers of machines that run, or wait for, the latest version of an image ("Image status").

    The counts do not say which version they concern: before the rollout begins, they describe the previous version
    and look complete.

    Attributes:
        fleets: The fleets, by id; empty unless details were requested.
    """

    fleets: Mapping[int, FleetRollout] = field(factory=dict[int, FleetRollout], hash=False)


@frozen(kw_only=True)
class ImageInstall(JobStatus):
    """An incomplete install of an image version on a machine ("Image install status").

    No call reads a single install; list the installs again instead. An install that is no longer listed has ended.

    Attributes:
        image_version_id: The version to be installed.
        mirroring: Whether the install is on a mirror.
        restart: Whether servers are stopped for the install and restarted after it.
        location: Location of the machine.
        machine: The machine.
        mirror: Name of the mirror.
        image_path: Path of the image on the machine.
        install_at: Time at which the install starts; None if the server sent none, or sent text.
    """

    image_version_id: int | None = None
    mirroring: bool | None = None
    restart: bool | None = None
    location: str | None = None
    machine: str | None = None
    mirror: str | None = None
    image_path: str | None = None
    install_at: datetime | None = None


@frozen(kw_only=True)
class QueuedInstall(HasState):
    """An install that was put in the queue ("Image install queue").

    Every attribute is None if the response was lost and the list then showed that the install had begun or ended.

    Attributes:
        mirror_id: Id of the mirror's job, if the install is on a mirror.
        machine_job_id: Id of the machine's job, otherwise.
        squashed: Number of older installs of the machine that this one replaces.
        state: The job's state; None if this release does not know it.
        state_id: Number of the state as the server sent it.
        state_name: Name of the state as the server sent it.
        created_at: Time of creation.
        updated_at: Time of the server's last update.
        started_at: Start time; None before that.
        eta: Time at which the server expects the job to complete.
        progress: Percentage from 0 to 100.
        failure_count: Number of failures so far.
        error: The job's error message, if any.
    """

    mirror_id: int | None = None
    machine_job_id: int | None = None
    squashed: int | None = None
    state: JobState | None = None
    state_id: int | None = None
    state_name: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    started_at: datetime | None = None
    eta: datetime | None = None
    progress: int | None = None
    failure_count: int | None = None
    error: str | None = None

    @property
    def id(self) -> int | None:
        """Id of the job, on a mirror or on a machine."""
        return self.machine_job_id if self.mirror_id is None else self.mirror_id


@frozen(kw_only=True)
class ReinstallJob(JobStatus):
    """The job that returns a build machine to its last known good state ("Image diff reject").

    No call of the API reads it.
    """


@frozen(kw_only=True)
class DiffRejection:
    """A rejected image diff ("Image diff reject").

    Attributes:
        diff_id: The image diff; its image is no longer locked.
        reinstall: The job that reinstalls the build machine; None without ``reinstall``, or if the response was lost.
    """

    diff_id: int
    reinstall: ReinstallJob | None = None


def _check_minutes(_policy: object, attribute: Attribute[int], value: object) -> None:
    positive_id(value, attribute.name)


def _check_percentage(_policy: object, _attribute: Attribute[float], value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        msg = f"percentage must be a number, not {type(value).__name__}"
        raise TypeError(msg)
    if not is_number(value) or not 0 <= value <= _PERCENT or round(value, 2) != value:
        msg = f"percentage must be from 0 to 100, with at most two decimals, not {value}"
        raise ValueError(msg)


@frozen
class StragglerPolicy:
    """Disables machines that do not respond to an install ("Image version create").

    Once ``percentage`` of the installs have succeeded, machines that have not responded for ``minutes`` are disabled,
    instead of after four hours.

    Attributes:
        minutes: Minutes to wait for a machine.
        percentage: Percentage of installs that must have succeeded, from 0 to 100 with at most two decimals.
    """

    minutes: int = field(validator=_check_minutes)
    percentage: float = field(validator=_check_percentage)
