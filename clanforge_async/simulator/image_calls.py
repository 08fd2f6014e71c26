"""The calls about images: options, activation and rollout."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from clanforge_async.refs import EPOCH, JobKind
from clanforge_async.simulator.errors import RequestRefusedError
from clanforge_async.simulator.images import REGIONS
from clanforge_async.simulator.installs import rollout_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clanforge_async.simulator.calls import Call
    from clanforge_async.simulator.images import Game, Image

_USER_ID = 4321


def image_options(call: Call) -> dict[str, Any]:
    """Image options: games and build machines; for a game and an image, also the game's images and the image's lock."""
    game_id, image_id = call.parameters.optional_id("gameid"), call.parameters.optional_id("imageid")
    if (game_id is None) != (image_id is None):
        raise RequestRefusedError(400, "gameid and imageid must be sent together")
    if game_id is None and call.parameters.optional_id("gameversion_identifier") is not None:
        raise RequestRefusedError(400, "gameversion_identifier needs gameid and imageid")
    game = None if game_id is None else _game(call, game_id)
    images = [image for image in call.pipeline.images.values() if image.game is game]
    options = {
        "games": [
            {"gameid": game.id, "name": game.name}
            for game in call.pipeline.games.values()
            if game.account == call.account
        ],
        "images": [_entry(image) for image in images],
        "machines": [
            {"machineid": machine.id, "name": machine.name}
            for machine in call.pipeline.machines.values()
            if machine.account == call.account
        ],
    }
    # No page documents the response for an unknown image: here it is in no list and not locked.
    asked_for = next((image for image in images if image.id == image_id), None)
    return options if asked_for is None else options | _image_options(asked_for, call)


def _game(call: Call, game_id: int) -> Game:
    game = call.pipeline.games.get(game_id)
    if game is None:
        raise RequestRefusedError(400, "unknown game")
    call.check_owner(game.account)
    return game


def _entry(image: Image) -> dict[str, Any]:
    # The API sends text here, but a number everywhere else.
    return {"imageid": image.id, "name": image.name, "gameversionid": str(image.game_version_id)}


def _image_options(image: Image, call: Call) -> dict[str, Any]:
    lock = call.pipeline.lock_of(image, call.now)
    options: dict[str, Any] = {} if image.update_url is None else {"update_url": image.update_url}
    if lock is not None:
        options["diffid" if lock.kind is JobKind.IMAGE_DIFF else "updateid"] = lock.id
    return options


def set_active(call: Call) -> dict[str, Any]:
    """Image update: sets the active flag."""
    image = _image_of_path(call)
    active = call.parameters.flag("active")
    image.active, image.updated = active, call.now
    fields = {
        "active": int(image.active),
        "created_at": _time(image.created),
        "created_by": _USER_ID,
        "gameversionid": image.game_version_id,
        "imageid": image.id,
        "latestversionid": image.version,
        "path": image.path,
        "updated_at": _time(image.updated),
        "updated_by": _USER_ID,
    }
    return fields if image.quirks.flattens_images else {"image": fields}


def _image_of_path(call: Call) -> Image:
    image = None if call.id is None else call.pipeline.images.get(call.id)
    if image is None:
        raise RequestRefusedError(404, "not found")
    call.check_owner(image.game.account)
    return image


def _time(seconds: float) -> str:
    return f"{EPOCH + timedelta(seconds=int(seconds)):%Y-%m-%dT%H:%M:%SZ}"


def rollout(call: Call) -> dict[str, Any]:
    """Image status: the number of machines in each state of the rollout; if requested, also by fleet and region."""
    image = _image_of_path(call)
    states = ("pending", "completed") if image.quirks.omits_failed_machines else ("pending", "failed", "completed")
    regions = rollout_of(image)
    total = _counts(sum(regions.values(), Counter[str]()), states)
    if not call.parameters.word("detail", default=False):
        return total
    by_region = {
        str(number + 1): {"name": REGIONS[number]} | _counts(counts, states)
        for number, counts in sorted(regions.items())
    }
    return total | {"fleets": {str(image.id * 10): total | {"regions": by_region}} if by_region else {}}


def _counts(counts: Counter[str], states: Iterable[str]) -> dict[str, Any]:
    return {f"{state}_machines": counts[state] for state in states}
