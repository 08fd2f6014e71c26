"""Options of ``clanforge release`` and its subcommands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from attrs import frozen

from clanforge_async.cli.parameters import HistoryPath, OutageTolerance
from clanforge_async.cli.parsing import parse_duration_or_zero, parse_positive_int, parse_retries

if TYPE_CHECKING:
    from clanforge_async import ClanforgeClient, JobWatcher, Releaser


def parse_images(text: str) -> list[int]:
    """Return the ids in ``501``, ``501,502`` or ``501 502``.

    Raises:
        typer.BadParameter: The text has another form.
    """
    parts = text.replace(",", " ").split()
    if not parts or not all(part.isascii() and part.isdecimal() and int(part) for part in parts):
        msg = f"{text!r} is not an image ID, or several with commas or spaces between"
        raise typer.BadParameter(msg)
    return [int(part) for part in parts]


def _flatten(groups: list[list[int]] | None) -> list[int]:
    return list(dict.fromkeys(image for group in groups or () for image in group))


Images = Annotated[
    list[int] | None,
    typer.Option(
        "--image", metavar="ID...", parser=parse_images, callback=_flatten, help="Images to release, such as 501 502."
    ),
]
Machine = Annotated[
    int | None, typer.Option("--machine", metavar="ID", parser=parse_positive_int, help="Build machine.")
]
Description = Annotated[str | None, typer.Option("--desc", metavar="TEXT", help="Description of the build.")]
GameBuild = Annotated[str | None, typer.Option("--game-build", metavar="B", help="Name of the game's build.")]
S3 = Annotated[
    str | None,
    typer.Option(
        "--s3",
        metavar="BUCKET/FOLDER",
        help="Source on S3, with CLANFORGE_SOURCE_KEY and CLANFORGE_SOURCE_SECRET in the environment.",
    ),
]
Steam = Annotated[
    str | None,
    typer.Option(
        "--steam",
        metavar="APP",
        help="Source on Steam; user and password in CLANFORGE_SOURCE_KEY and CLANFORGE_SOURCE_SECRET, or anonymous.",
    ),
]
Google = Annotated[
    str | None,
    typer.Option(
        "--gs",
        metavar="BUCKET/FOLDER",
        help="Source on Google Cloud, with the path of the key's file in CLANFORGE_SOURCE_CREDENTIALS.",
    ),
]
Full = Annotated[bool, typer.Option("--full", help="Create a full version instead of a differential one.")]
Restart = Annotated[bool, typer.Option("--restart", help="Stop servers for the install, and start them afterwards.")]
Force = Annotated[bool, typer.Option("--force", help="Create the version despite active allocations.")]
OnEmpty = Annotated[
    str | None,
    typer.Option("--on-empty", metavar="stop|full", help="If nothing differs: stop, or create a full version."),
]
FirstStep = Annotated[
    str | None, typer.Option("--from", metavar="diff", help="Begin with the diff: the build is on the machine already.")
]
WaitFor = Annotated[
    str | None,
    typer.Option("--wait-for", metavar="version|rollout", help="End with the version, or with its rollout (default)."),
]
Hold = Annotated[bool, typer.Option("--hold", help="End before the version, and print a token to resume with.")]
Yes = Annotated[bool, typer.Option("--yes", help="Release the diff without a question.")]
Approve = Annotated[bool, typer.Option("--approve", help="Release a diff that was held.")]
Reject = Annotated[bool, typer.Option("--reject", help="Reject a diff that was held.")]
Repeat = Annotated[
    bool,
    typer.Option("--repeat", help="Send the call with unknown outcome again: you have checked that it had no effect."),
]
JournalFolder = Annotated[
    Path | None,
    typer.Option("--journal", metavar="DIR", help="Folder with a file for each image, to resume its release."),
]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="T", parser=parse_duration_or_zero, help="Stop each release after this time."),
]
Exclusive = Annotated[
    bool, typer.Option("--exclusive", help="Nothing else releases these images: adopt the jobs of lost responses.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only read, and print what would be done.")]
Settle = Annotated[
    float | None,
    typer.Option(
        "--settle", metavar="T", parser=parse_duration_or_zero, help="Time within which a rollout begins (default 2m)."
    ),
]
LockWait = Annotated[
    float | None,
    typer.Option(
        "--lock-wait",
        metavar="T",
        parser=parse_duration_or_zero,
        help="Time to wait for another client's lock (default 0).",
    ),
]
JobRetries = Annotated[
    int | None,
    typer.Option(
        "--job-retries", metavar="N", parser=parse_retries, help="Retries of a failed update or diff (default 0)."
    ),
]
Targets = Annotated[
    list[str],
    typer.Argument(metavar="TOKEN|FILE", help="Token of a release, or a journal's file or folder.", show_default=False),
]


@frozen(kw_only=True)
class BuildOptions:
    """The build to release, and the options of the release; None for options that are not given.

    Attributes:
        image: The images.
        machine: The build machine.
        desc: Description of the build.
        game_build: Name of the game's build.
        s3: Bucket and folder of a source on S3.
        steam: App of a source on Steam.
        gs: Bucket and folder of a source on Google Cloud.
        full: Create a full version.
        restart: Stop servers for the install.
        force: Create the version despite active allocations.
        on_empty: What to do if no file differs.
        first_step: The first step.
        wait_for: The end to wait for.
    """

    image: Images = None
    machine: Machine = None
    desc: Description = None
    game_build: GameBuild = None
    s3: S3 = None
    steam: Steam = None
    gs: Google = None
    full: Full = False
    restart: Restart = False
    force: Force = False
    on_empty: OnEmpty = None
    first_step: FirstStep = None
    wait_for: WaitFor = None

    def given(self) -> dict[str, Any]:
        """Return the given options of `ImageRelease` that do not depend on the environment."""
        names = ("game_build", "full", "restart", "force", "on_empty", "first_step", "wait_for")
        options = {name: getattr(self, name) for name in names}
        options |= {"description": self.desc, "machine_id": self.machine}
        return {name: value for name, value in options.items() if value not in (None, False)}


@frozen(kw_only=True)
class ExecutionOptions:
    """Options for running releases.

    Attributes:
        hold: End before the version.
        yes: Do not ask for approval.
        journal: Folder for the tokens.
        timeout: Seconds for each release.
        exclusive: Whether nothing else releases the images.
        settle: Seconds within which a rollout begins.
        lock_wait: Seconds to wait until another client's lock is gone.
        job_retries: Retries of a failed update or diff.
        outage_tolerance: Seconds for which all polls may fail.
        history: File with the durations of ended jobs.
    """

    hold: Hold = False
    yes: Yes = False
    journal: JournalFolder = None
    timeout: Timeout = None
    exclusive: Exclusive = False
    settle: Settle = None
    lock_wait: LockWait = None
    job_retries: JobRetries = None
    outage_tolerance: OutageTolerance = None
    history: HistoryPath = None

    def watcher(self, client: ClanforgeClient) -> JobWatcher:
        """Return a watcher with these options."""
        from clanforge_async import JobHistory, JobWatcher  # noqa: PLC0415 - loads httpx, which --help doesn't need
        from clanforge_async.releases.labels import labelled_by_image_and_step  # noqa: PLC0415 - as above

        history = None if self.history is None else labelled_by_image_and_step(JobHistory(self.history))
        return JobWatcher(client, history=history, **_given(outage_tolerance=self.outage_tolerance))

    def releaser(self, client: ClanforgeClient, watcher: JobWatcher) -> Releaser:
        """Return a releaser with these options."""
        from clanforge_async import Releaser  # noqa: PLC0415 - as above

        limits = _given(settle=self.settle, lock_wait=self.lock_wait, job_retries=self.job_retries)
        return Releaser(client, watcher=watcher, journal=_as_folder(self.journal), exclusive=self.exclusive, **limits)


@frozen(kw_only=True)
class AbortOptions:
    """Options for aborting releases.

    Attributes:
        journal: Folder for the tokens.
        timeout: Seconds for each release.
        exclusive: Whether nothing else releases the images.
    """

    journal: JournalFolder = None
    timeout: Timeout = None
    exclusive: Exclusive = False

    def releaser(self, client: ClanforgeClient) -> Releaser:
        """Return a releaser with these options."""
        from clanforge_async import Releaser  # noqa: PLC0415 - as above

        return Releaser(client, journal=_as_folder(self.journal), exclusive=self.exclusive)


@frozen(kw_only=True)
class Answer:
    """The decision about a held diff.

    Attributes:
        approve: Release it.
        reject: Reject it.
    """

    approve: Approve = False
    reject: Reject = False

    def choose(self, execution: ExecutionOptions, *, is_terminal: bool) -> bool | Literal["hold", "ask"]:
        """Return the decision about a diff.

        Raises:
            typer.BadParameter: Options contradict each other, or there is no terminal to ask on.
        """
        given = [name for name, is_given in self._choices(execution).items() if is_given]
        if len(given) > 1:
            msg = f"{' and '.join(given)} contradict each other"
            raise typer.BadParameter(msg)
        if not given and not is_terminal:
            msg = "without a terminal to ask on, --yes or --hold is required"
            raise typer.BadParameter(msg)
        answers: Mapping[str, bool | Literal["hold"]] = {"--reject": False, "--hold": "hold"}
        return answers.get(given[0], True) if given else "ask"

    def _choices(self, execution: ExecutionOptions) -> dict[str, bool]:
        return {"--yes": execution.yes or self.approve, "--reject": self.reject, "--hold": execution.hold}


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _as_folder(path: Path | None) -> str | None:
    return None if path is None else f"{path}/"  # a path that ends with a slash is a folder, even if it does not exist
