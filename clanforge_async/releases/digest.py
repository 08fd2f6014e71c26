"""The digest of a release's plan: identifies the build, with one part for each option that does so."""

from __future__ import annotations

import hashlib
import re
from typing import Self

from attrs import fields, frozen

_DIGITS = 8
_PART = re.compile(f"[0-9a-f]{{{_DIGITS}}}", re.ASCII)


def digest(text: str) -> str:
    """Return a short digest. It detects accidental differences between texts, and is not secure."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]


def parse_digest(text: str) -> str:
    """Return the text if it has the form of a digest.

    Raises:
        ValueError: The text is not a digest.
    """
    if not _PART.fullmatch(text):
        msg = f"not a digest: {text!r}"
        raise ValueError(msg)
    return text


@frozen(kw_only=True)
class PlanDigest:
    """Digests of the options that identify the build of a release.

    Attributes:
        description: Digest of the description.
        source: Digest of the source without its secrets, so that new keys do not change it.
        first_step: Digest of the first step.
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
        """Parse the text that ``str()`` returns.

        Raises:
            ValueError: The text is not a digest of a plan.
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
