"""The digest of a release's plan: which build it is, in a part each for what tells that."""

from __future__ import annotations

import hashlib
import re
from typing import Self

from attrs import fields, frozen

_DIGITS = 8
_PART = re.compile(f"[0-9a-f]{{{_DIGITS}}}", re.ASCII)


def digest(text: str) -> str:
    """Return a short digest, by which texts are told apart that differ by mistake."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]


def parse_digest(text: str) -> str:
    """Return what `digest` has returned.

    Raises:
        ValueError: The text has another form.
    """
    if not _PART.fullmatch(text):
        msg = f"not a digest: {text!r}"
        raise ValueError(msg)
    return text


@frozen(kw_only=True)
class PlanDigest:
    """Digests of what tells which build a release is about.

    Attributes:
        description: Of the description.
        source: Of the source without its secrets, so that new keys do not change it.
        first_step: Of the first step.
    """

    description: str
    source: str
    first_step: str

    @classmethod
    def of(cls, *, description: str, source: str | None, first_step: str) -> Self:
        """Return the digest of a plan."""
        return cls(
            description=digest(description),
            source=digest("" if source is None else source),
            first_step=digest(first_step),
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``str()`` writes.

        Raises:
            ValueError: The text has another form.
        """
        parts = text.split("-")
        names = [attribute.name for attribute in fields(cls)]
        if len(parts) != len(names) or not all(map(_PART.fullmatch, parts)):
            msg = f"not a digest of a plan: {text!r}"
            raise ValueError(msg)
        return cls(**dict(zip(names, parts, strict=True)))

    def differences(self, other: PlanDigest) -> list[str]:
        """Return the names of the parts that differ."""
        return [each.name for each in fields(PlanDigest) if getattr(self, each.name) != getattr(other, each.name)]

    def __str__(self) -> str:
        return f"{self.description}-{self.source}-{self.first_step}"
