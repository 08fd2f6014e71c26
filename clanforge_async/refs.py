"""References to jobs: which job is meant, and from when on its status counts."""

from __future__ import annotations

import enum
import re
from datetime import UTC, datetime, timedelta
from typing import Self

from attrs import Attribute, field, frozen

from clanforge_async._validation import positive_id

# freezegun puts a subclass in the place of `datetime`, also in modules that are imported while the clock is frozen. The
# class of a sum is that of its first term, so a fake EPOCH would give every job fake times for good.
EPOCH: datetime = next(cls for cls in datetime.__mro__ if cls.__module__ == "datetime")(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


class JobKind(enum.StrEnum):
    """What a job works on."""

    IMAGE_DIFF = "image-diff"
    IMAGE_VERSION = "image-version"


def _check_id(_ref: JobRef, _attribute: Attribute[int], value: object) -> None:
    positive_id(value)


def _whole_second(moment: datetime | None) -> datetime | None:
    # The wire counts whole seconds, so "at 10.5 s or later" and "at 11 s or later" admit the same statuses.
    if moment is None:
        return None
    if moment.utcoffset() is None:
        msg = "newer_than must be an aware datetime"
        raise ValueError(msg)
    try:
        moment = EPOCH + (moment - EPOCH)  # in UTC, and of the real class
        return moment if not moment.microsecond else moment.replace(microsecond=0) + _SECOND
    except OverflowError:
        msg = "newer_than is too close to the end of time"
        raise ValueError(msg) from None


_REF = re.compile(r"(?P<kind>[a-z-]+)/(?P<id>[0-9]+)(?:@(?P<since>-?[0-9]{1,12}))?", re.ASCII)


@frozen
class JobRef:
    """Which job to watch, and from when on its status is news.

    ``str()`` of a reference is a token with which a watch can be resumed in another process; ``parse`` reads it.

    Attributes:
        kind: What the job works on.
        id: The image diff's or image version's id.
        newer_than: A status that the server updated before this moment belongs to an earlier run of the same job
            and says nothing about this one. Kept in whole seconds, as the API counts them. None: any status counts.
    """

    kind: JobKind = field(converter=JobKind)
    id: int = field(validator=_check_id)
    newer_than: datetime | None = field(default=None, converter=_whole_second)

    @classmethod
    def image_diff(cls, diff_id: int, newer_than: datetime | None = None) -> Self:
        """Refer to an image difference analysis."""
        return cls(JobKind.IMAGE_DIFF, diff_id, newer_than)

    @classmethod
    def image_version(cls, image_version_id: int, newer_than: datetime | None = None) -> Self:
        """Refer to the packaging of an image version."""
        return cls(JobKind.IMAGE_VERSION, image_version_id, newer_than)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``str()`` of a reference wrote: ``image-diff/5678`` or ``image-diff/5678@1763769600``.

        Raises:
            TypeError: It is no text.
            ValueError: The text is not of that form.
        """
        if not isinstance(text, str):
            msg = f"a job reference is read from text, not from {type(text).__name__}"
            raise TypeError(msg)
        match = _REF.fullmatch(text)
        if match is None or match["kind"] not in set(JobKind):
            msg = f"not a job reference: {text!r} (expected image-diff/ID or image-version/ID, with @SINCE at will)"
            raise ValueError(msg)
        try:
            since = EPOCH + timedelta(seconds=int(match["since"])) if match["since"] else None
        except OverflowError:
            msg = f"not a moment that can be told: {text!r}"
            raise ValueError(msg) from None
        return cls(JobKind(match["kind"]), int(match["id"]), since)

    def __str__(self) -> str:
        since = "" if self.newer_than is None else f"@{(self.newer_than - EPOCH) // _SECOND}"
        return f"{self.kind}/{self.id}{since}"
