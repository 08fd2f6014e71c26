"""Job payloads: the quirks with which the server writes them, and the content of image diffs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, cast

import attrs
from attrs import field, frozen

from clanforge_async._codec.jobs import job_to_dict
from clanforge_async.jobs import ImageDiffDetails, Job, JobState

if TYPE_CHECKING:
    from random import Random


@frozen(kw_only=True)
class Quirks:
    """Deviations of a job's JSON from the vendor's documentation. By default none: absent values are null.

    The last two concern the JSON of an image.

    Attributes:
        names_only: The state has a name but no number.
        short_names: The completed state is named ``Complete``.
        omits_nulls: Null fields are left out.
        swaps_types: Numbers are written as text, and a number that is documented as text as a number.
        adds_fields: Undocumented fields are added.
        omits_empty_maps: A diff's maps are left out if they are empty.
        omits_success: No response has ``success``, as on the legacy pages.
        omits_update_id: The responses to an update's status and retry have no ``updateid``.
        omits_failed_machines: A rollout has no ``failed_machines``, as on the legacy page.
        flattens_images: The fields of an image are not nested in ``image``.
    """

    names_only: bool = False
    short_names: bool = False
    omits_nulls: bool = False
    swaps_types: bool = False
    adds_fields: bool = False
    omits_empty_maps: bool = False
    omits_success: bool = False
    omits_update_id: bool = False
    omits_failed_machines: bool = False
    flattens_images: bool = False

    @classmethod
    def random(cls, rng: Random) -> Self:
        """Return random quirks, each with a probability of one half."""
        return cls(**{field.name: rng.random() < 0.5 for field in attrs.fields(cls)})  # noqa: PLR2004 - one half

    def write(self, job: Job) -> dict[str, Any]:
        """Return a job as a JSON object."""
        if self.names_only:
            job = attrs.evolve(job, state_id=None)
        if self.short_names and job.state is JobState.COMPLETED:
            job = attrs.evolve(job, state_name="Complete")
        wire = job_to_dict(job)
        if self.omits_nulls:
            wire = {name: value for name, value in wire.items() if value is not None}
        if self.swaps_types:
            wire = {name: _swap_type(value) for name, value in wire.items()}
        return wire | {"jobnode": "builder-3", "jobtags": []} if self.adds_fields else wire

    def write_listing(self, listing: Listing) -> dict[str, Any]:
        """Return the maps of an image diff."""
        maps = {name: getattr(listing, name) for name in ("added", "modified", "removed")}
        return {name: files for name, files in maps.items() if files or not self.omits_empty_maps}


def _swap_type(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return int(value) if isinstance(value, str) and value.isdecimal() else value


_GAMES = ("Ashfall", "Skyhook", "Deep Harbour")
_FILES = ("bin/server", "bin/server.so", "maps/harbour.pak", "maps/quarry.pak", "server.cfg", "version.txt")


@frozen(kw_only=True)
class Listing:
    """The files that an image diff lists, by path. Each value describes a file.

    Attributes:
        added: Files on the build machine only.
        modified: Files that differ.
        removed: Files in the image only.
    """

    added: Mapping[str, Any] = field(factory=dict[str, Any])
    modified: Mapping[str, Any] = field(factory=dict[str, Any])
    removed: Mapping[str, Any] = field(factory=dict[str, Any])

    @classmethod
    def random(cls, rng: Random) -> Self:
        """Return a few files drawn at random."""
        sizes = {path: {"size": rng.randrange(1, 2**31)} for path in rng.sample(_FILES, len(_FILES))}
        files = list(sizes.items())
        first, second = sorted(rng.choices(range(len(files) + 1), k=2))
        return cls(added=dict(files[:first]), modified=dict(files[first:second]), removed=dict(files[second:]))

    @classmethod
    def between(cls, old: Mapping[str, Any], new: Mapping[str, Any]) -> Self:
        """Compare the files of an image with those of a build machine."""
        return cls(
            added={path: _describe(file) for path, file in new.items() if path not in old},
            modified={path: _describe(file) for path, file in new.items() if path in old and old[path] != file},
            removed={path: _describe(file) for path, file in old.items() if path not in new},
        )

    @property
    def is_empty(self) -> bool:
        """Whether it lists no file."""
        return not (self.added or self.modified or self.removed)


def _describe(file: Any) -> Any:
    return cast("Any", file) if isinstance(file, Mapping) else {"content": file}


def random_details(rng: Random) -> ImageDiffDetails:
    """Return a game, a machine and an image drawn at random."""
    number = rng.randrange(1, 10_000)
    return ImageDiffDetails(
        game={"id": number, "name": rng.choice(_GAMES)},
        machine={"id": number + 1, "name": f"build-{number + 1}"},
        image={"id": number + 2, "name": f"image-{number + 2}"},
    )
