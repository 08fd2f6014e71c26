"""The image pipeline: updates, diffs and versions, with the API's rules and locks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from attrs import define, field, frozen

from clanforge_async.jobs import ImageDiffDetails, JobState
from clanforge_async.refs import JobKind
from clanforge_async.simulator.errors import RequestRefusedError, locked
from clanforge_async.simulator.images import BuildMachine, Game, Image
from clanforge_async.simulator.installs import Installs
from clanforge_async.simulator.payloads import Listing

if TYPE_CHECKING:
    from collections.abc import Callable

    from clanforge_async.refs import JobRef
    from clanforge_async.simulator.builds import Builds, Files
    from clanforge_async.simulator.events import EventQueue
    from clanforge_async.simulator.installs import InstallOptions
    from clanforge_async.simulator.jobs import JobRecord, Task
    from clanforge_async.simulator.policies import Policies
    from clanforge_async.simulator.runs import Run
    from clanforge_async.simulator.tasks import TaskFactory


@frozen(kw_only=True)
class VersionOptions:
    """The parameters with which an image version is created.

    Attributes:
        full: Whether it is a full image instead of a differential one.
        force: Whether to ignore active allocations.
        game_build: The name of the build, if any.
        installs: The options of its installs.
    """

    full: bool
    force: bool
    game_build: str | None
    installs: InstallOptions


@define(eq=False, kw_only=True)
class _Update:
    """An image update.

    Attributes:
        record: Its job.
        image: The image to update.
        machine: The build machine that pulls the files.
        files: The files that it pulls; None for a standalone job, which changes no image.
    """

    record: JobRecord
    image: Image
    machine: BuildMachine
    files: Files | None


@define(eq=False, kw_only=True)
class _Diff:
    """An image diff.

    Attributes:
        record: Its job.
        image: The image.
        machine: The build machine whose files it compares with those of the image.
        files: The files that it found on the machine.
        status: Whether it is open, accepted or rejected.
        is_alone: Whether it is a standalone job, which was added with its listing.
    """

    record: JobRecord
    image: Image
    machine: BuildMachine
    files: Files = field(factory=dict[str, object])
    status: Literal["open", "accepted", "rejected"] = "open"
    is_alone: bool = False

    def check_open(self) -> None:
        """Refuse a diff that was accepted or rejected."""
        if self.status != "open":
            raise RequestRefusedError(400, f"diff {self.record.id} has been {self.status} already")


@define(eq=False, kw_only=True)
class _Version:
    """An image version.

    Attributes:
        record: Its job.
        diff: The diff that it was created from.
        options: Its parameters.
        full: Whether it is packaged as a full image.
    """

    record: JobRecord
    diff: _Diff
    options: VersionOptions
    full: bool


class Pipeline:
    """All games, images and build machines, and the jobs that change them.

    Every method takes the server's time; call `advance` with that time first.

    Attributes:
        games: All games by id.
        images: All images by id.
        machines: All build machines by id.
        installs: All installs.
        builds: The files that updates pull.
        policies: The choice for each rule that the documentation leaves open.
    """

    def __init__(
        self, factory: TaskFactory, events: EventQueue, builds: Builds, policies: Policies, speed: float
    ) -> None:
        self.games: dict[int, Game] = {}
        self.images: dict[int, Image] = {}
        self.machines: dict[int, BuildMachine] = {}
        self.installs: Installs = Installs(factory, events, speed)
        self.builds = builds
        self.policies = policies
        self._factory = factory
        self._events = events
        self._lag = policies.install_lag / speed
        self._updates: dict[JobRef, _Update] = {}
        self._diffs: dict[JobRef, _Diff] = {}

    def advance(self, now: float) -> None:
        """Handle all events that are due by now."""
        self._events.run_until(now)

    def lock_of(self, image: Image, now: float) -> JobRef | None:
        """Return the job that locks an image, if any."""
        return image.locked_by(now, by_update=self.policies.lock_by_update)

    def create_update(
        self, image: Image, machine: BuildMachine, description: str, source: str | None, now: float
    ) -> JobRecord:
        """Start an update of an image on a build machine."""
        url = source or image.update_url
        if url is None:
            raise RequestRefusedError(400, f"missing parameter: url, and image {image.id} has no update_url")
        self._check_unlocked(image, now)
        record = self._factory.new_job(JobKind.IMAGE_UPDATE, image.game.account)
        files = self.builds[url, description]
        update = self._updates[record.ref] = _Update(record=record, image=image, machine=machine, files=files)
        self._run_update(update, now)
        return record

    def retry_update(self, record: JobRecord, now: float) -> None:
        """Start an update again, in any state: the documentation names no precondition."""
        update = self._updates.get(record.ref)
        if update is None:
            image, machine = _only_for(record)
            update = self._updates[record.ref] = _Update(record=record, image=image, machine=machine, files=None)
        self._check_unlocked(update.image, now, but=record.ref)
        record.end_now(JobState.SQUASHED, now)
        self._factory.add_scripted_run(record)
        self._run_update(update, now)

    def create_diff(self, image: Image, machine: BuildMachine, now: float, run: Run | None = None) -> JobRecord:
        """Start a diff of an image's latest version and the files of a build machine. The diff locks the image."""
        self._check_unlocked(image, now)
        record = self._factory.new_job(JobKind.IMAGE_DIFF, image.game.account, run)
        record.details = _details(image, machine)
        image.diff = record
        diff = self._diffs[record.ref] = _Diff(record=record, image=image, machine=machine)
        self._run(record, machine, now, partial(self._end_diff, diff))
        return record

    def retry_diff(self, record: JobRecord, now: float) -> None:
        """Start a diff again.

        Raises:
            RequestRefusedError: 400 for a diff that is accepted or rejected, or has neither completed nor failed; 200
                if another job locks the image.
        """
        diff = self._diff_of(record)
        diff.check_open()
        record.check_retry(now)
        self._factory.add_scripted_run(record)
        self._run(record, diff.machine, now, partial(self._end_diff, diff))

    def reject_diff(self, record: JobRecord, now: float, *, reinstall: bool) -> Task | None:
        """Reject a diff, and return the task that restores the machine's files, if requested."""
        diff = self._diff_of(record)
        diff.check_open()
        record.check_finished(now, "can be rejected")
        diff.status = "rejected"
        self._unlock(diff)
        if not reinstall:
            return None
        task = self._factory.new_uninstall()
        self._run(task, diff.machine, now, partial(self._end_uninstall, diff))
        return task

    def create_version(self, record: JobRecord, options: VersionOptions, now: float) -> JobRecord:
        """Start to package an image version. This accepts the diff."""
        diff = self._diff_of(record)
        full = self._check_version(diff, options, now)
        diff.status = "accepted"
        if self.policies.lock_ends == "created":
            self._unlock(diff)
        job = self._factory.new_job(JobKind.IMAGE_VERSION, record.account)
        version = _Version(record=job, diff=diff, options=options, full=full)
        self._run(job, diff.machine, now, partial(self._end_version, version))
        return job

    def check_pair(self, record: JobRecord, image: Image, machine: BuildMachine) -> None:
        """Refuse a diff of another image or build machine."""
        diff = self._diff_of(record)
        if diff.image is not image or diff.machine is not machine:
            raise RequestRefusedError(400, f"diff {record.id} is of another image or machine")

    def _check_version(self, diff: _Diff, options: VersionOptions, now: float) -> bool:
        record, image = diff.record, diff.image
        diff.check_open()
        state = record.state_at(now)
        if state is not JobState.COMPLETED:
            message = f"diff {record.id} is {state.name.lower()}: only a completed one can be accepted"
            raise RequestRefusedError(400, message)
        if image.allocations and not options.force:
            message = f"image {image.id} has {image.allocations} active allocations: force must be 1"
            raise RequestRefusedError(400, message)
        if not record.listing.is_empty:
            return options.full
        if not options.full and self.policies.empty_diff == "refuse":
            raise RequestRefusedError(400, f"diff {record.id} has no differences: full must be 1")
        if image.last_full:
            message = f"diff {record.id} has no differences, and the previous version is full already"
            raise RequestRefusedError(400, message)
        return True

    def _check_unlocked(self, image: Image, now: float, *, but: JobRef | None = None) -> None:
        holder = self.lock_of(image, now)
        if holder is not None and holder != but:
            raise locked(holder)

    def _diff_of(self, record: JobRecord) -> _Diff:
        diff = self._diffs.get(record.ref)
        if diff is None:
            image, machine = _only_for(record)
            diff = self._diffs[record.ref] = _Diff(record=record, image=image, machine=machine, is_alone=True)
        return diff

    def _run(self, task: Task, machine: BuildMachine, now: float, on_end: Callable[[JobState, float], None]) -> None:
        def end(at: float) -> None:
            if task.schedule is schedule:
                on_end(schedule.outcome, at)

        task.start_run(now, runs_from=machine.free_at(now))
        machine.tasks.append(task)
        schedule = task.schedule
        self._events.add(schedule.ended, end)

    def _run_update(self, update: _Update, now: float) -> None:
        for other in self._updates.values():
            if other.image is update.image and other.machine is update.machine and other.record.schedules:
                other.record.end_now(JobState.SQUASHED, now)
        update.image.update = update.record
        self._run(update.record, update.machine, now, partial(self._end_update, update))

    def _unlock(self, diff: _Diff) -> None:
        if diff.image.diff is diff.record:
            diff.image.diff = None

    def _end_update(self, update: _Update, state: JobState, _now: float) -> None:
        if state is JobState.COMPLETED and update.files is not None:
            update.machine.files[update.image.id] = update.files

    def _end_diff(self, diff: _Diff, state: JobState, _now: float) -> None:
        if state is JobState.SQUASHED:
            self._unlock(diff)
        if state is JobState.COMPLETED and not diff.is_alone:
            diff.files = diff.machine.files_of(diff.image)
            diff.record.listing = Listing.between(diff.image.files, diff.files)

    def _end_uninstall(self, diff: _Diff, _state: JobState, _now: float) -> None:
        diff.machine.files.pop(diff.image.id, None)

    def _end_version(self, version: _Version, state: JobState, now: float) -> None:
        diff, image, options = version.diff, version.diff.image, version.options
        if state is not JobState.COMPLETED:
            # Without the lock, another diff may have followed.
            diff.status = "open" if image.diff is diff.record else diff.status
            return
        self._unlock(diff)
        image.files, image.version, image.last_full = diff.files, version.record.id, version.full
        image.game_build = options.game_build or image.game_build
        image.updated = now
        self._events.add(now + self._lag, partial(self.installs.add, image, version.record.id, options.installs))


def _details(image: Image, machine: BuildMachine) -> ImageDiffDetails:
    return ImageDiffDetails(
        game={"id": image.game.id, "name": image.game.name},
        machine={"id": machine.id, "name": machine.name},
        image={"id": image.id, "name": image.name},
    )


def _only_for(record: JobRecord) -> tuple[Image, BuildMachine]:
    """Return an image and a machine for a standalone job."""
    game = Game(id=1, name="", account=record.account)
    created = record.schedules[0].created
    image = Image(
        id=record.id,
        game=game,
        files={},
        version=record.id,
        game_version_id=1,
        servers=[],
        mirrors=(),
        created=created,
        updated=created,
    )
    return image, BuildMachine(id=1, name="", account=record.account)
