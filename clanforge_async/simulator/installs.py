"""Installs of image versions on the machines that run them, and the rollout that consists of them."""

from __future__ import annotations

import math
from collections import Counter
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING

from attrs import define, evolve, frozen

from clanforge_async.jobs import JobState
from clanforge_async.simulator.errors import RequestRefusedError
from clanforge_async.simulator.images import SimulatedInstall
from clanforge_async.simulator.runs import make_schedule
from clanforge_async.simulator.states import StateChange

if TYPE_CHECKING:
    from clanforge_async.simulator.auth import Account
    from clanforge_async.simulator.events import EventQueue
    from clanforge_async.simulator.images import Image, Server
    from clanforge_async.simulator.jobs import Task
    from clanforge_async.simulator.tasks import TaskFactory

_STAGGER = 2.0
"""Seconds between the starts of two installs of a version."""

_UNTIL_EXIT = (5.0, 30.0)
"""Seconds until a machine's servers exit by themselves, if an install does not restart them."""

_TIMEOUT = 4 * 3600.0
"""Seconds after which an install times out."""


@frozen(kw_only=True)
class InstallOptions:
    """Options of the installs of a version.

    Attributes:
        restart: Whether servers are stopped for the install; otherwise it waits until they exit.
        starts_at: The time at which installs start, in Unix seconds; None: each waits until it is queued.
        disable_timeout: Minutes after which machines with an unfinished install may be disabled, if any.
        disable_percentage: Percentage of successful installs from which those machines are disabled.
    """

    restart: bool
    starts_at: float | None
    disable_timeout: int | None = None
    disable_percentage: float | None = None


@define(eq=False, kw_only=True)
class Install:
    """An install of a version, on a machine or to a mirror.

    Attributes:
        task: Its task.
        image: Its image.
        version: The id of the version.
        options: Its options.
        server: The machine; None for an install to a mirror.
        mirror: The name of the mirror, if any.
        is_queued: Whether it has been queued.
        is_overdue: Whether ``disable_timeout`` has passed since it was queued.
    """

    task: Task
    image: Image
    version: int
    options: InstallOptions
    server: Server | None
    mirror: str | None = None
    is_queued: bool = False
    is_overdue: bool = False

    @property
    def target(self) -> Server | str | None:
        """The name of its machine or mirror."""
        return self.server or self.mirror

    def is_waiting(self, now: float) -> bool:
        """Whether it was neither queued nor replaced."""
        return not self.is_queued and not self.task.state_at(now).is_terminal


class Installs:
    """All installs, oldest first."""

    def __init__(self, factory: TaskFactory, events: EventQueue, speed: float) -> None:
        self._factory = factory
        self._events = events
        self._speed = speed
        self._installs: list[Install] = []

    def add(self, image: Image, version: int, options: InstallOptions, now: float) -> None:
        """Add the installs of a completed version: to each mirror, and on each machine that is not disabled."""
        image.deployed = version
        targets: list[tuple[Server | None, str | None]] = [(None, mirror) for mirror in image.mirrors]
        targets += [(server, None) for server in image.servers if not server.disabled]
        for number, (server, mirror) in enumerate(targets):
            task = self._factory.new_install()
            _hold(task, now)
            install = Install(task=task, image=image, version=version, options=options, server=server, mirror=mirror)
            self._installs.append(install)
            if options.starts_at is not None:
                delay = number * _STAGGER / self._speed
                self._events.add(max(now, options.starts_at), partial(self._start_once, install, delay))

    def queue(self, job_id: int | None, account: Account, *, mirroring: bool, now: float) -> tuple[Install, int]:
        """Queue a waiting install, and return it with the number of older ones of its machine that it replaces.

        Raises:
            RequestRefusedError: 404 for an unknown install, 403 for an install of another account, 400 for an install
                that is not waiting or has another value of ``mirroring``.
        """
        install = next((install for install in self._installs if install.task.id == job_id), None)
        if install is None:
            raise RequestRefusedError(404, "not found")
        if install.image.game.account != account:
            raise RequestRefusedError(403, "forbidden")
        if not install.is_waiting(now):
            raise RequestRefusedError(400, f"install {job_id} is not waiting to be queued")
        if mirroring is (install.server is not None):
            raise RequestRefusedError(400, f"install {job_id} has another value of mirroring")
        return install, self._start(install, 0.0, now)

    def incomplete(self, account: Account, now: float) -> list[Install]:
        """Return all installs of an account that have not ended."""
        return [
            install
            for install in self._installs
            if install.image.game.account == account and not install.task.state_at(now).is_terminal
        ]

    def of_image(self, image: Image, now: float) -> tuple[SimulatedInstall, ...]:
        """Return the actual state of all installs of an image."""
        return tuple(
            SimulatedInstall(
                id=install.task.id,
                image_version_id=install.version,
                machine=install.server.name if install.server else str(install.mirror),
                state=install.task.state_at(now),
            )
            for install in self._installs
            if install.image is image
        )

    def _start_once(self, install: Install, delay: float, now: float) -> None:
        if install.is_waiting(now):
            self._start(install, delay, now)

    def _start(self, install: Install, delay: float, now: float) -> int:
        install.is_queued = True
        older = self._older_incomplete(install, now)
        for other in older:
            other.task.end_now(JobState.SQUASHED, now)
        if install.server is not None and not install.options.restart:
            delay += install.task.rng(-1).uniform(*_UNTIL_EXIT) / self._speed
        _release(install.task, now, now + delay)
        self._events.add(install.task.schedule.ended, partial(self._end, install))
        self._events.add(now + _TIMEOUT / self._speed, partial(self._give_up, install))
        if install.options.disable_timeout is not None:
            timeout = install.options.disable_timeout * 60 / self._speed
            self._events.add(now + timeout, partial(self._mark_overdue, install))
        return len(older)

    def _older_incomplete(self, install: Install, now: float) -> list[Install]:
        older = takewhile(lambda other: other is not install, self._installs)
        same = (other for other in older if other.target == install.target)
        return [other for other in same if not other.task.state_at(now).is_terminal]

    def _end(self, install: Install, now: float) -> None:
        # The schedule of an install that was squashed or timed out has changed meanwhile.
        if install.task.schedule.ended != now or install.server is None:
            return
        if install.task.schedule.outcome is JobState.COMPLETED:
            install.server.version = install.version
            if install.options.disable_percentage is not None:
                self._disable_stragglers(install.version, now)
        elif install.task.schedule.outcome is JobState.FAILED:
            install.server.disabled = True

    def _give_up(self, install: Install, now: float) -> None:
        if install.task.state_at(now).is_terminal:
            return
        install.task.end_now(JobState.FAILED, now, "timed out while installing")
        if install.server is not None:
            install.server.disabled = True

    def _mark_overdue(self, install: Install, now: float) -> None:
        install.is_overdue = True
        self._disable_stragglers(install.version, now)

    def _disable_stragglers(self, version: int, now: float) -> None:
        installs = [install for install in self._installs if install.version == version and install.server]
        completed = sum(install.task.state_at(now) is JobState.COMPLETED for install in installs)
        for install in installs:
            wanted = install.options.disable_percentage
            if install.is_overdue and wanted is not None and 100 * completed >= wanted * len(installs):
                self._give_up(install, now)


def rollout_of(image: Image) -> dict[int, Counter[str]]:
    """Return the number of machines in each state of the rollout of the latest deployed version, by region."""
    counts: dict[int, Counter[str]] = {}
    for server in image.servers:
        counts.setdefault(server.region, Counter())[server.progress(image.deployed)] += 1
    return counts


def _hold(task: Task, now: float) -> None:
    """Create a task that is pending until it is released."""
    task.start_run(now)
    changes = (StateChange(now, JobState.CREATED), StateChange(now, JobState.PENDING))
    task.schedules[-1] = evolve(task.schedule, changes=changes, completes=math.inf)


def _release(task: Task, now: float, runs_from: float) -> None:
    """Queue a pending task: its run starts now."""
    held = task.schedule
    planned = make_schedule(task.runs[0], task.rng(0), created=now, speed=task.speed, runs_from=runs_from)
    changes = (change for change in planned.changes if change.state > JobState.QUEUED)
    task.schedules[-1] = evolve(
        planned, created=held.created, changes=(*held.changes, StateChange(now, JobState.QUEUED), *changes)
    )
