"""The eight calls with a side effect, with the data that the tests of all of them need."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import frozen
from support.image_answers import IMAGE, MACHINE, image_wire, install_wire
from support.scripted_server import START, wire

from clanforge_async import ClanforgeClient, ImageInstall, JobState
from clanforge_async.refs import EPOCH

INSTALL = ImageInstall(id=31, state=JobState.PENDING, created_at=EPOCH, updated_at=EPOCH, mirroring=False)


@frozen
class SideEffect:
    """A call with a side effect.

    Attributes:
        name: The client's method.
        key: The call and id by which a `ScriptedServer` knows it.
        path: Its path below ``/cfp/v1/``.
        send: Makes the call.
        answer: The JSON object of a successful response.
    """

    name: str
    key: tuple[str, int]
    path: str
    send: Callable[[ClanforgeClient], Awaitable[Any]]
    answer: dict[str, Any]

    def __str__(self) -> str:
        return self.name


SIDE_EFFECTS = [
    SideEffect(
        "image_updates.create",
        ("imageupdate/create", 0),
        "imageupdate/create",
        lambda client: client.image_updates.create(IMAGE, MACHINE, "build 1"),
        wire(6, JobState.CREATED, jobcreated=START),
    ),
    SideEffect(
        "image_updates.retry",
        ("imageupdate/retry", 5),
        "imageupdate/5/retry",
        lambda client: client.image_updates.retry(5),
        wire(5),
    ),
    SideEffect(
        "image_diffs.create",
        ("imagediff/create", 0),
        "imagediff/create",
        lambda client: client.image_diffs.create(IMAGE, MACHINE),
        wire(6, JobState.CREATED, jobcreated=START),
    ),
    SideEffect(
        "image_diffs.retry",
        ("imagediff/retry", 5),
        "imagediff/5/retry",
        lambda client: client.image_diffs.retry(5),
        wire(5),
    ),
    SideEffect(
        "image_diffs.reject",
        ("imagediff/reject", 5),
        "imagediff/5/reject",
        lambda client: client.image_diffs.reject(5, reinstall=False, image_id=IMAGE),
        {"diffid": 5},
    ),
    SideEffect(
        "image_versions.create",
        ("imageversion/create", 0),
        "imageversion/create",
        lambda client: client.image_versions.create(5, restart=False, image_id=IMAGE),
        wire(9),
    ),
    SideEffect(
        "image_installs.queue",
        ("imageinstall/queue", 31),
        "imageinstall/31/queue",
        lambda client: client.image_installs.queue(INSTALL),
        {"machinejobid": 8, "installs_squashed": 0, **install_wire(31, JobState.QUEUED)},
    ),
    SideEffect(
        "images.set_active",
        ("image/update", IMAGE),
        f"image/{IMAGE}/update",
        lambda client: client.images.set_active(IMAGE, True),
        {"image": image_wire()},
    ),
]
BY_NAME = {call.name: call for call in SIDE_EFFECTS}
