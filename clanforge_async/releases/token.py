"""`ReleaseToken`: all data needed to resume a release, as one line of text without secrets."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from functools import partial
from typing import Any, Self

from attrs import evolve, field, fields_dict, frozen

from clanforge_async._validation import positive_id
from clanforge_async.refs import JobKind, JobRef
from clanforge_async.releases.digest import PlanDigest, parse_digest


class Call(enum.StrEnum):
    """A call with a side effect, under its name in a token."""

    UPDATE = "update"
    UPDATE_RETRY = "update-retry"
    DIFF = "diff"
    DIFF_RETRY = "diff-retry"
    REJECT = "reject"
    VERSION = "version"


class Decision(enum.StrEnum):
    """The decision about a completed diff."""

    APPROVED = "approved"
    HELD = "held"
    DECLINED = "declined"
    EMPTY = "empty"
    REFUSED = "refused"  # an empty diff for which the server refused a full version
    ABORTED = "aborted"


@frozen
class Intent:
    """A call that was about to be sent and whose response is unknown.

    Attributes:
        call: The call.
        at: Time just before the call, in Unix seconds of the server's clock, rounded down.
    """

    call: Call
    at: int


@frozen(kw_only=True)
class ReleaseToken:
    """The state of a release, with which another process resumes it.

    ``str()`` returns the token as one line of text, without spaces and secrets; `parse` reads it.

    Attributes:
        image_id: The image.
        machine_id: The build machine.
        plan: Digest of the options that identify the build.
        failed_before: Number of machines of the image that had failed before the release.
        update: The image update, once created.
        update_retries: Number of retries of the update.
        diff: The image diff, once created or adopted.
        diff_retries: Number of retries of the diff.
        decision: The decision about the diff; None before it is made.
        rejected: Whether the diff was rejected.
        version: The image version, once created.
        version_ended: Time at which the version completed, in Unix seconds of the server's clock.
        rollout_began: Whether an install of the version was seen.
        install_path: Digest of the path at which the version is installed.
        overtaken_by: Another client's update that locked the image before the diff was created.
        intent: The call that is in progress or whose outcome is unknown.
    """

    image_id: int = field(validator=lambda _token, _field, value: positive_id(value, "image_id"))
    machine_id: int = field(validator=lambda _token, _field, value: positive_id(value, "machine_id"))
    plan: PlanDigest
    failed_before: int | None = None
    update: JobRef | None = None
    update_retries: int = 0
    overtaken_by: JobRef | None = None
    diff: JobRef | None = None
    diff_retries: int = 0
    decision: Decision | None = None
    rejected: bool = False
    version: JobRef | None = None
    version_ended: int | None = None
    rollout_began: bool = False
    install_path: str | None = None
    intent: Intent | None = None

    def __attrs_post_init__(self) -> None:
        for name, needed in _NEEDS.items():
            if getattr(self, name) and not getattr(self, needed):
                msg = f"a release token with {name} needs {needed}"
                raise ValueError(msg)
        if self.intent is not None and not _IS_POSSIBLE[self.intent.call](self):
            msg = f"a release token in this state cannot intend the call {self.intent.call}"
            raise ValueError(msg)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text of a token.

        Raises:
            TypeError: The argument is not a ``str``.
            ValueError: The text is not a release token.
        """
        if not isinstance(text, str):
            msg = f"a release token is read from text, not from {type(text).__name__}"
            raise TypeError(msg)
        match = _TOKEN.fullmatch(text)
        if match is None:
            msg = f"not a release token: {text[:200]!r}"
            raise ValueError(msg)
        values: dict[str, Any] = {}
        try:
            for part in filter(None, match["fields"].split(",")):
                values |= _parse_field(part, values)
            return cls(
                image_id=int(match["image"]),
                machine_id=int(match["machine"]),
                plan=PlanDigest.parse(match["plan"]),
                **values,
            )
        except ValueError as error:
            msg = f"not a release token: {text[:200]!r}: {error}"
            raise ValueError(msg) from None

    @property
    def is_under_way(self) -> bool:
        """Whether the release may have made a call, and has neither completed a version nor rejected the diff."""
        has_begun = self.update is not None or self.diff is not None or self.intent is not None
        return has_begun and not self.rejected and self.version_ended is None

    def ref(self, kind: JobKind) -> JobRef | None:
        """Return the reference to the update, the diff or the version."""
        ref: JobRef | None = getattr(self, _JOBS[kind])
        return ref

    def known_ref(self, kind: JobKind) -> JobRef:
        """Return the reference to a job of the release that was created.

        Raises:
            ValueError: The job was not created yet.
        """
        ref = self.ref(kind)
        if ref is None:
            msg = f"this release has no {kind} yet"
            raise ValueError(msg)
        return ref

    def with_ref(self, ref: JobRef) -> Self:
        """Return the token with a reference to a created or retried job, and without an intent."""
        changes: dict[str, Any] = {_JOBS[ref.kind]: ref}
        return evolve(self, intent=None, **changes)

    def retries(self, kind: JobKind) -> int:
        """Return the number of retries of the update or the diff."""
        count: int = getattr(self, f"{_JOBS[kind]}_retries")
        return count

    def with_retry(self, ref: JobRef) -> Self:
        """Return the token after a retry of the update or the diff."""
        changes: dict[str, Any] = {f"{_JOBS[ref.kind]}_retries": self.retries(ref.kind) + 1}
        return evolve(self.with_ref(ref), **changes)

    def __str__(self) -> str:
        parts = [part for name in _FIELDS if (part := _format_field(name, getattr(self, name)))]
        if self.intent is not None:
            parts.append(f"{self.intent.call}=~{self.intent.at}")
        return f"release/1:{self.image_id}.{self.machine_id}.{self.plan}:{','.join(parts)}"


_JOBS = {JobKind.IMAGE_UPDATE: "update", JobKind.IMAGE_DIFF: "diff", JobKind.IMAGE_VERSION: "version"}

_TOKEN = re.compile(
    r"release/1:(?P<image>[0-9]{1,18})\.(?P<machine>[0-9]{1,18})\.(?P<plan>[a-z0-9-]+):(?P<fields>[a-z0-9=~@,-]*)",
    re.ASCII,
)

_NEEDS = {
    "update_retries": "update",
    "overtaken_by": "update",
    "diff_retries": "diff",
    "decision": "diff",
    "rejected": "decision",
    "version": "decision",
    "version_ended": "version",
    "rollout_began": "version_ended",
    "install_path": "rollout_began",
}

_REJECTING = {Decision.DECLINED, Decision.EMPTY, Decision.REFUSED, Decision.ABORTED}
_RELEASING = {Decision.APPROVED, Decision.EMPTY}

_IS_POSSIBLE: dict[Call, Callable[[ReleaseToken], object]] = {
    Call.UPDATE: lambda token: not token.update and not token.diff,
    Call.UPDATE_RETRY: lambda token: token.update and not token.diff,
    Call.DIFF: lambda token: not token.diff,
    Call.DIFF_RETRY: lambda token: token.diff and token.decision in {None, Decision.HELD},
    Call.REJECT: lambda token: token.decision in _REJECTING and not token.rejected,
    Call.VERSION: lambda token: token.decision in _RELEASING and not token.rejected and not token.version,
}
"""For each call, a function that returns whether a release in this state can be about to make it."""


def _parse_number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text, re.ASCII):
        msg = f"not a number: {text!r}"
        raise ValueError(msg)
    return int(text)


def _parse_ref(kind: JobKind, text: str) -> JobRef:
    return JobRef.parse(f"{kind}/{text}")


def _format_ref(ref: JobRef) -> str:
    return str(ref).partition("/")[2]


_FIELDS: dict[str, tuple[str, Callable[[str], Any], Callable[[Any], str]]] = {
    "failed_before": ("failed-before", _parse_number, str),
    "update": ("update", partial(_parse_ref, JobKind.IMAGE_UPDATE), _format_ref),
    "update_retries": ("update-retries", _parse_number, str),
    "overtaken_by": ("overtaken-by", partial(_parse_ref, JobKind.IMAGE_UPDATE), _format_ref),
    "diff": ("diff", partial(_parse_ref, JobKind.IMAGE_DIFF), _format_ref),
    "diff_retries": ("diff-retries", _parse_number, str),
    "decision": ("", Decision, str),
    "rejected": ("rejected", bool, str),
    "version": ("version", partial(_parse_ref, JobKind.IMAGE_VERSION), _format_ref),
    "version_ended": ("ended", _parse_number, str),
    "rollout_began": ("began", bool, str),
    "install_path": ("path", parse_digest, str),
}
"""The name of each field in a token, its parser and its formatter. A flag is written as its name only."""

_NAMES = {key: name for name, (key, _, _) in _FIELDS.items() if key}
_FLAGS = {"rejected", "began"}
_DEFAULTS = {name: fields_dict(ReleaseToken)[name].default for name in _FIELDS}


def _format_field(name: str, value: Any) -> str:
    if value == _DEFAULTS[name]:
        return ""
    key, _, text = _FIELDS[name]
    return key if value is True else f"{key}={text(value)}".removeprefix("=")


def _parse_field(part: str, known: dict[str, Any]) -> dict[str, Any]:
    key, assigned, text = part.partition("=")
    name: str = _NAMES.get(key, "decision")
    value: Any
    if assigned and text.startswith("~"):
        name, value = "intent", Intent(Call(key), _parse_number(text[1:]))
    elif name == "decision":
        value = Decision(part)
    elif bool(assigned) is (key in _FLAGS):
        msg = f"unreadable: {part!r}"
        raise ValueError(msg)
    else:
        value = _FIELDS[name][1](text) if assigned else True
    if name in known:
        msg = f"a release token has {name} twice"
        raise ValueError(msg)
    return {name: value}
