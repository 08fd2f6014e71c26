"""The command tree: each command is a function of `signatures` and a row of a table here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any, TypeVar, cast

import typer
from typer.core import TyperCommand

from clanforge_async.cli import image_signatures, signatures
from clanforge_async.cli.errors import USAGE_ERROR
from clanforge_async.cli.formatting import print_line
from clanforge_async.cli.parameters import EXIT_STATUS_HELP, with_options
from clanforge_async.cli.release_signatures import release
from clanforge_async.cli.usage import Command

T = TypeVar("T")

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
    **dict.fromkeys(image_signatures.COMMANDS, image_signatures.EXIT_STATUS_HELP),
}
"""Last paragraph of the help of the commands that are not about jobs."""


class _Command(TyperCommand):
    """A command whose help and usage name an argument by its metavar alone, without the type that typer adds."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        parameters: list[Any] = self.params
        for parameter in parameters:
            if parameter.param_type_name == "argument":
                name = parameter.metavar + ("..." if parameter.nargs != 1 else "")
                parameter.get_usage_pieces = partial(_return, [name])
                parameter.get_help_record = partial(_return, (name, parameter.help))


def _return(value: T, _context: object) -> T:
    return value


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
    _groups.get(_group_name, app).command(_name, cls=_Command, epilog=_epilog)(with_options(_function))


def parse(argv: Sequence[str]) -> Command | int:
    """Return the command to run, or an exit status if there is nothing left to do.

    Raises:
        UsageError: Wrong arguments.
        BrokenPipeError: No one reads the help.
    """
    if not argv:
        parse(["--help"])
        return USAGE_ERROR
    command = typer.main.get_command(app)
    try:
        return cast("Command | int", command.main(list(argv), prog_name="clanforge", standalone_mode=False))
    except (SystemExit, typer.Abort) as error:
        # How typer reports a broken pipe, and older versions Ctrl-C. Their exit status would be 1.
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
