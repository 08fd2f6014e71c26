"""`ImageRelease`: the build to release, and the options of the release."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any, Literal

from attrs import Attribute, field, frozen

from clanforge_async._codec.masking import mask_secrets
from clanforge_async._validation import flag, positive_id, text
from clanforge_async.images import StragglerPolicy
from clanforge_async.releases.digest import PlanDigest
from clanforge_async.resources.sources import Source


class ReleaseStep(enum.StrEnum):
    """A step of a release. The members are in the order of the steps."""

    CHECK = "check"
    UPDATE = "update"
    DIFF = "diff"
    APPROVE = "approve"
    VERSION = "version"
    ROLLOUT = "rollout"


def _is_id(_release: object, attribute: Attribute[int], value: object) -> None:
    positive_id(value, attribute.name)


def _is_text(_release: object, attribute: Attribute[Any], value: object) -> None:
    text(value, attribute.name)


def _is_optional_text(_release: object, attribute: Attribute[Any], value: object) -> None:
    if value is not None:
        text(value, attribute.name)


def _is_flag(_release: object, attribute: Attribute[bool], value: object) -> None:
    flag(value, attribute.name)


def _is_choice(*choices: str) -> Any:
    def validate(_release: object, attribute: Attribute[str], value: object) -> None:
        if value not in choices:
            msg = f"{attribute.name} must be {' or '.join(map(repr, choices))}, not {value!r}"
            raise ValueError(msg)

    return validate


def _is_source(_release: object, attribute: Attribute[Any], value: object) -> None:
    # The value may contain secrets, so no message shows it.
    if isinstance(value, str):
        text(value, attribute.name)
    elif value is not None and not isinstance(value, Source):
        msg = f"source must be a source, its URL or None, not {type(value).__name__}"
        raise TypeError(msg)


def _is_time(_release: object, attribute: Attribute[Any], value: object) -> None:
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            msg = f"{attribute.name} must be an aware datetime"
            raise ValueError(msg)
    elif value not in ("now", None):
        msg = f"{attribute.name} must be 'now', an aware datetime or None, not {value!r}"
        raise ValueError(msg)


def _is_policy(_release: object, attribute: Attribute[Any], value: object) -> None:
    if value is not None and not isinstance(value, StragglerPolicy):
        msg = f"{attribute.name} must be a StragglerPolicy or None, not {type(value).__name__}"
        raise TypeError(msg)


def mask_source(source: Source | str | None) -> str | None:
    """Return a source's URL with its secrets masked."""
    if source is None:
        return None
    return mask_secrets(source) if isinstance(source, str) else source.masked_url


def _show_source(source: Source | str | None) -> str:
    return repr(mask_source(source) if isinstance(source, str) else source)


@frozen
class ImageRelease:
    """One release of an image: its build, its build machine and its options.

    Attributes:
        image_id: The image.
        machine_id: The build machine that pulls the build.
        description: Description of the build, as free text.
        source: The source of the build, or its URL as text. None: the image's default source.
        game_build: Name of the build, stored as the game version's version.
        restart: Stop all servers of the image for the install, and start them afterwards. False: a server gets the
            version when it exits.
        force: Create the version despite active allocations.
        full: Create a full version instead of a differential one.
        on_empty: What to do if the build equals the image: ``"stop"`` rejects the diff, ``"full"`` creates a full
            version.
        first_step: ``"update"``, or ``"diff"`` if the build is already on the machine.
        wait_for: ``"rollout"``: wait until the machines run the version. ``"version"``: wait until it is created.
        straggler_policy: When to disable machines that do not install the version; None: the server's default.
        install_at: Time of the installs: ``"now"``, or an aware datetime, before which no machine installs the
            version; None: the server's default.

    Raises:
        TypeError: An argument has another type.
        ValueError: An id is not positive; a text is empty, blank or contains a control character; a choice is unknown.
    """

    image_id: int = field(validator=_is_id)
    machine_id: int = field(validator=_is_id)
    description: str = field(validator=_is_text)
    source: Source | str | None = field(default=None, validator=_is_source, repr=_show_source)
    game_build: str | None = field(default=None, validator=_is_optional_text, kw_only=True)
    restart: bool = field(default=False, validator=_is_flag, kw_only=True)
    force: bool = field(default=False, validator=_is_flag, kw_only=True)
    full: bool = field(default=False, validator=_is_flag, kw_only=True)
    on_empty: Literal["stop", "full"] = field(default="stop", validator=_is_choice("stop", "full"), kw_only=True)
    first_step: Literal["update", "diff"] = field(
        default="update", validator=_is_choice("update", "diff"), kw_only=True
    )
    wait_for: Literal["rollout", "version"] = field(
        default="rollout", validator=_is_choice("rollout", "version"), kw_only=True
    )
    straggler_policy: StragglerPolicy | None = field(default=None, validator=_is_policy, kw_only=True)
    install_at: Literal["now"] | datetime | None = field(default="now", validator=_is_time, kw_only=True)

    @property
    def digest(self) -> PlanDigest:
        """Digest of the options that identify the build."""
        source = mask_source(self.source)
        source = None if source is None else mask_secrets(source)  # the same for a source and for its URL as text
        return PlanDigest.of(description=self.description, source=source, first_step=self.first_step)
