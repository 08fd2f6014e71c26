"""References to jobs: kind, id and the time from which a status counts."""

from __future__ import annotations

import enum
import re
from datetime import UTC, datetime, timedelta
from typing import Self

from attrs import Attribute, field, frozen

from clanforge_async._validation import positive_id

# freezegun replaces `datetime` by a subclass, also in modules that are imported while the clock is frozen. A sum has
# the class of its first term, so a fake EPOCH would give every job fake times, even after the test.
EPOCH: datetime = next(cls for cls in datetime.__mro__ if cls.__module__ == "datetime")(1970, 1, 1, tzinfo=UTC)
LATEST_SECOND: datetime = EPOCH.max.replace(microsecond=0, tzinfo=UTC) - timedelta(seconds=1)
"""Latest time to which a second can be added."""
_SECOND = timedelta(seconds=1)


class JobKind(enum.StrEnum):
    """Kind of a job: the resource that it works on."""

    IMAGE_UPDATE = "image-update"
    IMAGE_DIFF = "image-diff"
    IMAGE_VERSION = "image-version"


def _validate_id(_ref: JobRef, _attribute: Attribute[int], value: object) -> None:
    positive_id(value)


def _round_up_to_second(moment: datetime | None) -> datetime | None:
    # The API counts whole seconds, so "at 10.5 s or later" and "at 11 s or later" allow the same statuses.
    if moment is None:
        return None
    if moment.utcoffset() is None:
        msg = "newer_than must be an aware datetime"
        raise ValueError(msg)
    try:
        moment = EPOCH + (moment - EPOCH)  # in UTC, and of the real `datetime` class
        return moment if not moment.microsecond else moment.replace(microsecond=0) + _SECOND
    except OverflowError:
        msg = "newer_than is too close to datetime.max"
        raise ValueError(msg) from None


_REF = re.compile(r"(?P<kind>[a-z-]+)/(?P<id>[0-9]+)(?:@(?P<since>-?[0-9]{1,12}))?", re.ASCII)


def unix_second(moment: datetime) -> int:
    """Return a time in Unix seconds, as the API counts them: rounded down."""
    return (moment - EPOCH) // _SECOND


@frozen
class JobRef:
    """Reference to a job, and the time from which its status counts.

    ``str()`` returns a token with which another process can resume a watch; ``parse`` reads it.

    Attributes:
        kind: Kind of the job.
        id: Id of the image update, image diff or image version.
        newer_than: A status that the server updated before this time belongs to a previous run of the job and is
            ignored. In whole seconds, as the API counts them. None: any status counts.
    """

    kind: JobKind = field(converter=JobKind)
    id: int = field(validator=_validate_id)
    newer_than: datetime | None = field(default=None, converter=_round_up_to_second)

    @classmethod
    def image_update(cls, update_id: int, newer_than: datetime | None = None) -> Self:
        """Refer to an image update."""
        return cls(JobKind.IMAGE_UPDATE, update_id, newer_than)

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
        """Parse ``image-diff/5678`` or ``image-diff/5678@1763769600``, as ``str()`` writes them.

        Raises:
            TypeError: The argument is not a ``str``.
            ValueError: The text is not a job reference.
        """
        if not isinstance(text, str):
            msg = f"a job reference is read from text, not from {type(text).__name__}"
            raise TypeError(msg)
        match = _REF.fullmatch(text)
        if match is None or match["kind"] not in set(JobKind):
            expected = "image-update/ID, image-diff/ID or image-version/ID, optionally followed by @SINCE"
            msg = f"not a job reference: {text!r} (expected {expected})"
            raise ValueError(msg)
        try:
            since = EPOCH + timedelta(seconds=int(match["since"])) if match["since"] else None
        except OverflowError:
            msg = f"not a time that a datetime can represent: {text!r}"
            raise ValueError(msg) from None
        return cls(JobKind(match["kind"]), int(match["id"]), since)

    def __str__(self) -> str:
        since = "" if self.newer_than is None else f"@{unix_second(self.newer_than)}"
        return f"{self.kind}/{self.id}{since}"
