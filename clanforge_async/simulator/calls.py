"""The calls about jobs: updates, diffs, versions and installs."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import frozen

from clanforge_async.refs import JobKind
from clanforge_async.simulator.builds import is_source
from clanforge_async.simulator.errors import RequestRefusedError
from clanforge_async.simulator.installs import InstallOptions
from clanforge_async.simulator.pipeline import VersionOptions
from clanforge_async.simulator.requests import Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from clanforge_async.simulator.auth import Account
    from clanforge_async.simulator.images import BuildMachine, Image
    from clanforge_async.simulator.installs import Install
    from clanforge_async.simulator.jobs import JobRecord, JobStore
    from clanforge_async.simulator.parameters import Parameters
    from clanforge_async.simulator.pipeline import Pipeline

_LAST_SECOND = 253_402_300_799
"""The last Unix second of the year 9999."""


@frozen
class Call:
    """An authorized request, as passed to the function that carries it out.

    Attributes:
        route: The call.
        id: The id in its path or query; None if that is not a valid id.
        parameters: The query parameters.
        account: The caller's account.
        has_token: Whether the caller has a Bearer token.
        jobs: All jobs.
        pipeline: The games, images and build machines.
        now: The server's time, in Unix seconds.
        previous_run: Whether to show the run before the latest, if there is one.
    """

    route: Route
    id: int | None
    parameters: Parameters
    account: Account
    has_token: bool
    jobs: JobStore
    pipeline: Pipeline
    now: float
    previous_run: bool

    def job(self) -> JobRecord:
        """Return the job with the request's id, or raise like `JobStore.get`."""
        assert self.route.kind is not None  # noqa: S101 - calls about jobs only
        return self.jobs.get(self.route.kind, self.id, self.account)

    def image(self) -> Image:
        """Return the image of ``imageid``; 400 if it is unknown, 403 if it is another account's."""
        image = self.pipeline.images.get(self.parameters.id("imageid"))
        if image is None:
            raise RequestRefusedError(400, "unknown image")
        self.check_owner(image.game.account)
        return image

    def machine(self) -> BuildMachine:
        """Return the build machine of ``machineid``; 400 if it is unknown, 403 if it is another account's."""
        machine = self.pipeline.machines.get(self.parameters.id("machineid"))
        if machine is None:
            raise RequestRefusedError(400, "unknown machine")
        self.check_owner(machine.account)
        return machine

    def diff(self) -> JobRecord:
        """Return the diff of ``diffid``; 400 if it is unknown, 403 if it is another account's."""
        record = self.jobs.find(JobKind.IMAGE_DIFF, self.parameters.id("diffid"))
        if record is None:
            raise RequestRefusedError(400, "unknown diff")
        self.check_owner(record.account)
        return record

    def check_owner(self, account: Account) -> None:
        """Refuse a request for a resource of another account with 403."""
        if account != self.account:
            raise RequestRefusedError(403, "forbidden")


EndpointFunction: TypeAlias = "Callable[[Call], dict[str, Any] | bytes]"
"""Carries out a request. Returns the JSON object of the response, or its text if no Python object can represent it."""


def _answer(record: JobRecord, call: Call, *, details: bool = False) -> dict[str, Any]:
    payload = record.to_payload(call.now, previous_run=call.previous_run, details=details) | {"success": True}
    if record.quirks.omits_success:
        del payload["success"]
    return payload


def create_update(call: Call) -> dict[str, Any]:
    """Image update create."""
    image, machine = call.image(), call.machine()
    source = call.parameters.optional_text("url")
    if source is not None and not is_source(source):
        call.parameters.refuse("url")
    record = call.pipeline.create_update(image, machine, call.parameters.text("desc"), source, call.now)
    return _answer(record, call)


def update_status(call: Call) -> dict[str, Any]:
    """Image update status."""
    return _without_id(call.job(), call)


def retry_update(call: Call) -> dict[str, Any]:
    """Image update retry."""
    record = call.job()
    call.pipeline.retry_update(record, call.now)
    return _without_id(record, call)


def _without_id(record: JobRecord, call: Call) -> dict[str, Any]:
    payload = _answer(record, call)
    if record.quirks.omits_update_id:
        del payload["updateid"]
    return payload


def create_diff(call: Call) -> dict[str, Any]:
    """Image diff create; with ``diffid`` it retries that diff."""
    image, machine = call.image(), call.machine()
    if call.parameters.optional_id("diffid") is None:
        record = call.pipeline.create_diff(image, machine, call.now)
    else:
        record = call.diff()
        call.pipeline.check_pair(record, image, machine)
        call.pipeline.retry_diff(record, call.now)
    return _answer(record, call)


def retry_diff(call: Call) -> dict[str, Any]:
    """Image diff retry: the only one of these calls whose documentation shows no ``success``."""
    record = call.job()
    call.pipeline.retry_diff(record, call.now)
    return record.to_payload(call.now, previous_run=call.previous_run)


def job_status(call: Call) -> dict[str, Any]:
    """Image diff status, image version status."""
    details = call.parameters.optional_text("diff_info") == "1"
    return _answer(call.job(), call, details=details)


def reject_diff(call: Call) -> dict[str, Any]:
    """Image diff reject."""
    record = call.job()
    task = call.pipeline.reject_diff(record, call.now, reinstall=call.parameters.flag("reinstall"))
    return {"diffid": record.id} if task is None else {"uninstalljobid": task.id} | task.job_fields(call.now)


def create_version(call: Call) -> dict[str, Any]:
    """Image version create."""
    parameters = call.parameters
    record = call.diff()
    options = VersionOptions(
        full=parameters.flag("full", default=False),
        force=parameters.flag("force", default=False),
        game_build=parameters.optional_text("game_build"),
        installs=_install_options(call),
    )
    return _answer(call.pipeline.create_version(record, options, call.now), call)


def _install_options(call: Call) -> InstallOptions:
    timeout = call.parameters.optional_integer("disable_timeout", _LAST_SECOND)
    percentage = call.parameters.optional_decimal("disable_percentage", 100)
    if (timeout is None) != (percentage is None):
        raise RequestRefusedError(400, "disable_timeout and disable_percentage must be sent together")
    return InstallOptions(
        restart=call.parameters.flag("restart"),
        starts_at=_start_of_installs(call),
        disable_timeout=timeout,
        disable_percentage=percentage,
    )


def _start_of_installs(call: Call) -> float | None:
    text = call.parameters.optional_text("install_at")
    if text is None:
        return None if call.pipeline.policies.omitted_install_at == "manual" else call.now
    # The documentation of the host that accepts tokens allows only a number.
    if text == "NOW()" and not call.has_token:
        return call.now
    return call.parameters.optional_integer("install_at", _LAST_SECOND)


def list_installs(call: Call) -> bytes:
    """Image install status: the incomplete installs of all images of the account."""
    installs = call.pipeline.installs.incomplete(call.account, call.now)
    return b'{"installs": [%s]}' % b", ".join(_write_install(install, call.now) for install in installs)


def _write_install(install: Install, now: float) -> bytes:
    restart = int(install.options.restart)
    starts_at = install.options.starts_at
    entry = {
        "jobid": install.task.id,
        **install.task.job_fields(now),
        "mirroring": install.server is None,
        "restart": restart,
        "location": None if install.server is None else install.server.location,
        "machine": None if install.server is None else install.server.name,
        "mirror": install.mirror,
        "imagepath": install.image.path,
        "install_at": None if starts_at is None else math.floor(starts_at),
        "target_imageversionid": install.version,
    }
    # In the documented example, each entry has this key twice.
    return b'{"restart": %d, %s' % (restart, json.dumps(entry).encode()[1:])


def queue_install(call: Call) -> dict[str, Any]:
    """Image install queue."""
    mirroring = call.parameters.word("mirroring")
    install, squashed = call.pipeline.installs.queue(call.id, call.account, mirroring=mirroring, now=call.now)
    fields = install.task.job_fields(call.now)
    if mirroring:
        return {"versionmirrorid": call.jobs.new_id()} | fields
    return {"machinejobid": call.jobs.new_id(), "installs_squashed": squashed} | fields
