"""The demo pipeline: a game with three images, for which users' own programs can release builds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clanforge_async.simulator.service import Simulator

BUILD_MACHINE = 77
"""The id of the demo's build machine."""

IMAGES = (501, 502, 503)
"""The ids of the demo's images."""

_GAME = 12
_SOURCE = "s3://demo-key:demo-secret@ashfall-builds/linux"


def add_demo_pipeline(simulator: Simulator) -> None:
    """Add a game with a build machine and three images, each of which runs on three machines and has a source.

    Raises:
        ValueError: The simulator already has one of them.
    """
    simulator.add_game(_GAME, name="Ashfall")
    simulator.add_build_machine(BUILD_MACHINE)
    for image_id in IMAGES:
        simulator.add_image(image_id, game_id=_GAME, update_url=f"{_SOURCE}/{image_id}/")
