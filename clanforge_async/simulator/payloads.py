"""Job bodies as the server writes them, and the random content of image diffs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import attrs
from attrs import field, frozen

from clanforge_async._codec import job_to_dict
from clanforge_async.jobs import ImageDiffDetails, Job, JobState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random


@frozen(kw_only=True)
class Quirks:
    """How one job is written. By default as the vendor's pages show it, with null for what a job has not.

    Attributes:
        names_only: No number for the state; only its name tells.
        short_names: The completed state is called ``Complete``.
        omits_nulls: What a job has not is left out.
        swaps_types: Numbers arrive as text, and a number that is documented as text as a number.
        adds_fields: There are fields that no page documents.
    """

    names_only: bool = False
    short_names: bool = False
    omits_nulls: bool = False
    swaps_types: bool = False
    adds_fields: bool = False

    @classmethod
    def drawn(cls, rng: Random) -> Self:
        """Return habits as chance has them."""
        return cls(**{field.name: rng.random() < 0.5 for field in attrs.fields(cls)})  # noqa: PLR2004 - heads or tails

    def write(self, job: Job) -> dict[str, Any]:
        """Return the wire form of a job."""
        if self.names_only:
            job = attrs.evolve(job, state_id=None)
        if self.short_names and job.state is JobState.COMPLETED:
            job = attrs.evolve(job, state_name="Complete")
        wire = job_to_dict(job)
        if self.omits_nulls:
            wire = {name: value for name, value in wire.items() if value is not None}
        if self.swaps_types:
            wire = {name: _swapped(value) for name, value in wire.items()}
        return wire | {"jobnode": "builder-3", "jobtags": []} if self.adds_fields else wire


def _swapped(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return int(value) if isinstance(value, str) and value.isdecimal() else value


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
