"""What an image diff found, and between what it looked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from attrs import field, frozen

from clanforge_async.jobs import ImageDiffDetails

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

_GAMES = ("Ashfall", "Skyhook", "Deep Harbour")
_FILES = ("bin/server", "bin/server.so", "maps/harbour.pak", "maps/quarry.pak", "server.cfg", "version.txt")


@frozen(kw_only=True)
class Listing:
    """The files that differ between build machine and image, by path; each value says something of its file.

    Attributes:
        added: Files that only the build machine has.
        modified: Files that differ.
        removed: Files that only the image has.
    """

    added: Mapping[str, Any] = field(factory=dict[str, Any])
    modified: Mapping[str, Any] = field(factory=dict[str, Any])
    removed: Mapping[str, Any] = field(factory=dict[str, Any])

    @classmethod
    def drawn(cls, rng: Random) -> Self:
        """Return a listing of a few files."""
        sizes = {path: {"size": rng.randrange(1, 2**31)} for path in rng.sample(_FILES, len(_FILES))}
        files = list(sizes.items())
        first, second = sorted(rng.choices(range(len(files) + 1), k=2))
        return cls(added=dict(files[:first]), modified=dict(files[first:second]), removed=dict(files[second:]))


def draw_details(rng: Random) -> ImageDiffDetails:
    """Return a game, a machine and an image."""
    number = rng.randrange(1, 10_000)
    return ImageDiffDetails(
        game={"id": number, "name": rng.choice(_GAMES)},
        machine={"id": number + 1, "name": f"build-{number + 1}"},
        image={"id": number + 2, "name": f"image-{number + 2}"},
    )
