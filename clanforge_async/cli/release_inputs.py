"""The input of ``clanforge release``: releases from options, tokens, journals and environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import typer
from attrs import field, frozen

from clanforge_async import GoogleSource, ImageRelease, ReleaseToken, S3Source, SteamSource
from clanforge_async._codec.masking import MASK
from clanforge_async.cli.release_parameters import BuildOptions
from clanforge_async.releases.digest import PlanDigest
from clanforge_async.releases.journal import JournalEntry, read_journal
from clanforge_async.releases.releaser import PLAN_PARTS
from clanforge_async.resources.sources import Source


@frozen(kw_only=True)
class Input:
    """One release to start or to resume.

    Attributes:
        release: The release.
        token: The token to resume from; None: a new release.
        parts: The parts of the plan that must be the same in the release and the token.
    """

    release: ImageRelease
    token: ReleaseToken | None = None
    parts: frozenset[str] = field(default=PLAN_PARTS)


def new_inputs(build: BuildOptions) -> list[Input]:
    """Return the releases that the options describe.

    Raises:
        typer.BadParameter: An option is missing or invalid.
    """
    for name, value in (("--image", build.image), ("--machine", build.machine), ("--desc", build.desc)):
        if not value:
            msg = f"{name} is required"
            raise typer.BadParameter(msg)
    source = find_source(build, os.environ)
    return [Input(release=_make_release(build.given() | {"image_id": i, "source": source})) for i in build.image or ()]


def resumed_inputs(targets: Sequence[str], build: BuildOptions) -> list[Input]:
    """Return the releases of tokens and journals.

    Raises:
        typer.BadParameter: A target is neither, or an option that a remaining step needs is missing.
    """
    return [_resumed(entry, build, os.environ) for entry in read_targets(targets)]


def read_targets(targets: Sequence[str]) -> list[JournalEntry]:
    """Return the tokens in the arguments, each of which is a token, or a journal's file or folder.

    Raises:
        typer.BadParameter: An argument is none of them.
    """
    entries: list[JournalEntry] = []
    for target in targets:
        try:
            if Path(target).exists():
                entries += read_journal(target)
            else:
                entries.append(JournalEntry(token=ReleaseToken.parse(target), options={}))
        except (OSError, ValueError) as error:
            raise typer.BadParameter(str(error)) from None
    if not entries:
        msg = f"no release in {', '.join(targets)}"
        raise typer.BadParameter(msg)
    return entries


def find_source(build: BuildOptions, environ: Mapping[str, str]) -> Source | str | None:
    """Return the source that the options and the environment name.

    Raises:
        typer.BadParameter: Several sources are named, or a secret is missing.
    """
    given = [name for name in ("s3", "steam", "gs") if getattr(build, name)]
    if len(given) > 1:
        msg = "give one of --s3, --steam and --gs"
        raise typer.BadParameter(msg)
    try:
        if build.s3:
            bucket, _, folder = build.s3.partition("/")
            key, secret = (_secret(environ, name) for name in ("CLANFORGE_SOURCE_KEY", "CLANFORGE_SOURCE_SECRET"))
            return S3Source(bucket, folder, key, secret)
        if build.steam:
            user = environ.get("CLANFORGE_SOURCE_KEY") or "anonymous"
            return SteamSource(build.steam, user, environ.get("CLANFORGE_SOURCE_SECRET", ""))
        if build.gs:
            bucket, _, folder = build.gs.partition("/")
            return GoogleSource(bucket, folder, _read_credentials(environ))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return environ.get("CLANFORGE_SOURCE_URL") or None


def _secret(environ: Mapping[str, str], name: str) -> str:
    if not environ.get(name):
        msg = f"the source needs {name} in the environment"
        raise typer.BadParameter(msg)
    return environ[name]


def _read_credentials(environ: Mapping[str, str]) -> str:
    path = _secret(environ, "CLANFORGE_SOURCE_CREDENTIALS")
    try:
        return Path(path).read_text("utf-8")
    except (OSError, ValueError) as error:
        msg = f"cannot read CLANFORGE_SOURCE_CREDENTIALS: {error}"
        raise typer.BadParameter(msg) from None


def _make_release(options: Mapping[str, Any]) -> ImageRelease:
    try:
        return ImageRelease(**options)
    except (TypeError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None


def _resumed(entry: JournalEntry, build: BuildOptions, environ: Mapping[str, str]) -> Input:
    token, known = entry.token, dict(entry.options)
    parts = set(PLAN_PARTS) if known else {"first_step"}
    options = {"first_step": _first_step(token)} | known | build.given()
    options |= {"image_id": token.image_id, "machine_id": build.machine or token.machine_id}
    source = find_source(build, environ)
    if source is not None:
        options["source"] = source
        parts.add("source")
    elif isinstance(known.get("source"), str):
        options["source"] = _with_secrets(known["source"], environ) if _pulls(token) else known["source"]
    parts |= {"description"} if build.desc else set()
    _check_pull(token, parts, options)
    release = _make_release({"description": "-"} | options)
    return Input(release=release, token=token, parts=frozenset(parts))


def _first_step(token: ReleaseToken) -> str:
    begun = PlanDigest.of(description="", source=None, first_step="diff").first_step
    return "diff" if token.plan.first_step == begun else "update"


def _pulls(token: ReleaseToken) -> bool:
    """Whether the update has not been created yet."""
    return token.update is None and token.diff is None and _first_step(token) == "update"


def _check_pull(token: ReleaseToken, parts: set[str], options: Mapping[str, Any]) -> None:
    if not _pulls(token):
        return
    if "description" not in parts:
        msg = "the update is still to come, so --desc is required"
        raise typer.BadParameter(msg)
    own = PlanDigest.of(description="", source=None, first_step="").source
    if "source" not in parts and token.plan.source != own:
        msg = "the update is still to come, so its source is required"
        raise typer.BadParameter(msg)
    source = options.get("source")
    if isinstance(source, str) and MASK in source:
        msg = "the update is still to come, so the source's secrets are required in the environment"
        raise typer.BadParameter(msg)


def _with_secrets(masked: str, environ: Mapping[str, str]) -> str:
    """Return a masked URL with its masks replaced by the secrets in the environment."""
    scheme = masked.partition(":")[0]
    if scheme == "gs":
        return masked.replace(MASK, quote(_read_credentials(environ), safe=""))
    secret = quote(environ.get("CLANFORGE_SOURCE_SECRET", ""), safe="")
    if scheme == "steam":
        return masked.replace(MASK, secret)
    key = quote(environ.get("CLANFORGE_SOURCE_KEY", ""), safe="")
    return masked.replace(MASK, f"{key}:{secret}") if key else masked
