"""The command tree: each command is a function of `signatures` and a row of a table here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Annotated, Any, cast

import typer

from clanforge_async.cli import image_signatures, signatures
from clanforge_async.cli.errors import USAGE_ERROR
from clanforge_async.cli.formatting import print_line
from clanforge_async.cli.parameters import EXIT_STATUS_HELP, STATUS_EXIT_STATUS_HELP, with_options
from clanforge_async.cli.release_signatures import release
from clanforge_async.cli.usage import Command, PlainCommand

_GROUPS = {
    "image-update": "Image updates.",
    "image-diff": "Image diffs.",
    "image-version": "Image versions.",
    **image_signatures.GROUPS,
}
"""The help of each group of commands."""
_COMMANDS: dict[str, Callable[..., Any]] = {
    "watch": signatures.watch,
    "status": signatures.status,
    "doctor": signatures.doctor,
    "worker": signatures.worker,
    "image-update status": signatures.image_update_status,
    "image-update retry": signatures.image_update_retry,
    "image-diff status": signatures.image_diff_status,
    "image-diff retry": signatures.image_diff_retry,
    "image-version status": signatures.image_version_status,
    **image_signatures.COMMANDS,
    "simulate": signatures.simulate,
    "demo": signatures.demo,
}
"""The function of each command, by its name after that of its group, in the order of the help."""
_EPILOGS = {
    "worker": None,
    "simulate": None,
    "demo": None,
    "status": STATUS_EXIT_STATUS_HELP,
    "image-update status": STATUS_EXIT_STATUS_HELP,
    "image-diff status": STATUS_EXIT_STATUS_HELP,
    "image-version status": STATUS_EXIT_STATUS_HELP,
    "doctor": image_signatures.EXIT_STATUS_HELP,
    **dict.fromkeys(image_signatures.COMMANDS, image_signatures.EXIT_STATUS_HELP),
}
"""Last paragraph of the help of the commands that do not wait for jobs."""


app: typer.Typer = typer.Typer(
    name="clanforge",
    help="Look at images of the Clanforge game-image API, change them, and wait for their jobs.",
    epilog="Credentials are read only from the environment: CLANFORGE_ACCESS_KEY with CLANFORGE_SECRET_KEY, "
    "or CLANFORGE_TOKEN.",
    rich_markup_mode=None,
)
_groups = {name: typer.Typer(help=text, rich_markup_mode=None) for name, text in _GROUPS.items()}
for _name, _group in _groups.items():
    app.add_typer(_group, name=_name)
app.add_typer(release, name="release")
for _path, _function in _COMMANDS.items():
    _group_name, _space, _name = _path.rpartition(" ")
    _epilog = _EPILOGS.get(_path, EXIT_STATUS_HELP)
    _groups.get(_group_name, app).command(_name, cls=PlainCommand, epilog=_epilog)(with_options(_function))
_command_tree = cache(partial(typer.main.get_command, app))  # for programs that run several commands


def parse(argv: Sequence[str]) -> Command | int:
    """Return the command to run, or an exit status if there is nothing left to do.

    Raises:
        UsageError: The arguments are invalid.
        BrokenPipeError: The help's reader has closed the pipe.
    """
    if not argv:
        parse(["--help"])
        return USAGE_ERROR
    command = _command_tree()
    try:
        return cast("Command | int", command.main(list(argv), prog_name="clanforge", standalone_mode=False))
    except (SystemExit, typer.Abort) as error:
        # typer raises this for a broken pipe, older versions also for Ctrl-C. Their exit status would be 1.
        if isinstance(error.__context__, BrokenPipeError | KeyboardInterrupt):
            raise error.__context__ from None
        raise


def _version(wanted: bool) -> None:
    if wanted:
        from clanforge_async._http.version import __version__  # noqa: PLC0415 - reads the metadata, which is slow

        print_line(f"clanforge {__version__}")
        raise typer.Exit


@app.callback()
def _clanforge(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass
