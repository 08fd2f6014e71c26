"""The signatures of the commands for images, updates and installs, and of the rejection of a diff.

Each takes the parsed arguments and returns the coroutine to run; its docstring is the command's help.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from clanforge_async.cli import parameters as params
from clanforge_async.cli.logs import run_with_logging
from clanforge_async.cli.output.select import OutputOptions
from clanforge_async.cli.parameters import ConnectionOptions, Verbosity
from clanforge_async.cli.parsing import parse_positive_int
from clanforge_async.cli.usage import Command, UsageError

ImageId = Annotated[
    int, typer.Argument(metavar="ID", parser=parse_positive_int, show_default=False, help="The image's ID.")
]
InstallId = Annotated[
    int,
    typer.Argument(
        metavar="JOBID", parser=parse_positive_int, show_default=False, help="The install's ID, as `list` shows it."
    ),
]
ImageOption = Annotated[
    int | None,
    typer.Option(
        "--image", metavar="ID", parser=parse_positive_int, help="Show the lock and the default source of this image."
    ),
]
GameOption = Annotated[
    int | None,
    typer.Option(
        "--game",
        metavar="ID",
        parser=parse_positive_int,
        help="The game of the image (default: found by reading all games).",
    ),
]
VersionOption = Annotated[
    int | None,
    typer.Option(
        "--version", metavar="ID", parser=parse_positive_int, help="Show only installs of this image version."
    ),
]
DiffImageOption = Annotated[
    int | None,
    typer.Option(
        "--image",
        metavar="ID",
        parser=parse_positive_int,
        help="The diff's image: its lock is read if the response to the call is lost.",
    ),
]
Detail = Annotated[bool, typer.Option("--detail", help="Show each fleet and region too.")]
Reinstall = Annotated[bool, typer.Option("--reinstall", help="Return the build machine to its last known good state.")]
Keep = Annotated[bool, typer.Option("--keep", help="Keep the files on the build machine.")]


def image_options(
    image_id: ImageOption = None,
    game_id: GameOption = None,
    *,
    connection: ConnectionOptions,
    verbosity: Verbosity,
    as_json: params.Json = False,
) -> Command:
    """Show games, build machines and an image's lock.

    With --image, the image's default source and the other images of its game too.
    """
    from clanforge_async.cli.image_commands import show_options  # noqa: PLC0415 - --help needs no event loop

    if game_id is not None and image_id is None:
        msg = "--game needs --image: the API takes both or neither"
        raise UsageError(msg)
    return _run(show_options(connection, image_id, game_id, _output(verbosity, as_json=as_json)), verbosity)


def image_status(
    image_id: ImageId,
    *,
    detail: Detail = False,
    connection: ConnectionOptions,
    verbosity: Verbosity,
    as_json: params.Json = False,
) -> Command:
    """Show the progress of an image's rollout.

    Counts the machines that have the image's latest version, wait for it, or cannot install it. The API does not say
    which version that is: until the installs of a new version have begun, the counts describe the one before.
    """
    from clanforge_async.cli.image_commands import show_rollout  # noqa: PLC0415 - as above

    command = show_rollout(connection, image_id, _output(verbosity, as_json=as_json), detail=detail)
    return _run(command, verbosity)


def image_activate(
    image_id: ImageId, connection: ConnectionOptions, verbosity: Verbosity, as_json: params.Json = False
) -> Command:
    """Activate an image. Sent once, even if the response is lost."""
    return _set_active(image_id, connection, verbosity, active=True, as_json=as_json)


def image_deactivate(
    image_id: ImageId, connection: ConnectionOptions, verbosity: Verbosity, as_json: params.Json = False
) -> Command:
    """Deactivate an image. Sent once, even if the response is lost."""
    return _set_active(image_id, connection, verbosity, active=False, as_json=as_json)


def image_diff_reject(
    diff_id: params.JobId,
    *,
    reinstall: Reinstall = False,
    keep: Keep = False,
    image_id: DiffImageOption = None,
    connection: ConnectionOptions,
    verbosity: Verbosity,
    as_json: params.Json = False,
) -> Command:
    """Reject a diff, which unlocks its image.

    The diff must have completed or failed. Reject only a diff of your own: the API accepts any diff of the account, and
    its owner may be about to use it. Sent once, even if the response is lost.
    """
    from clanforge_async.cli.image_commands import reject_diff  # noqa: PLC0415 - as above

    if reinstall is keep:
        msg = "give either --reinstall or --keep"
        raise UsageError(msg)
    output_options = _output(verbosity, as_json=as_json)
    return _run(reject_diff(connection, diff_id, image_id, output_options, reinstall=reinstall), verbosity)


def image_install_list(
    image_version_id: VersionOption = None,
    *,
    connection: ConnectionOptions,
    verbosity: Verbosity,
    as_json: params.Json = False,
) -> Command:
    """List the account's incomplete installs.

    They are those of all images. An empty list means that all installs have ended, or that none has begun yet.
    """
    from clanforge_async.cli.image_commands import list_installs  # noqa: PLC0415 - as above

    return _run(list_installs(connection, image_version_id, _output(verbosity, as_json=as_json)), verbosity)


def image_install_queue(
    install_id: InstallId, connection: ConnectionOptions, verbosity: Verbosity, as_json: params.Json = False
) -> Command:
    """Queue an install that waits.

    Older installs of its machine are squashed. The installs are listed first: an ID that is not among them is refused.
    Sent once, even if the response is lost.
    """
    from clanforge_async.cli.image_commands import queue_install  # noqa: PLC0415 - as above

    return _run(queue_install(connection, install_id, _output(verbosity, as_json=as_json)), verbosity)


GROUPS = {"image": "Images: their locks, sources, active flag and rollout.", "image-install": "Installs on machines."}
"""The help of each group of commands."""
COMMANDS: dict[str, Callable[..., Any]] = {
    "image options": image_options,
    "image status": image_status,
    "image activate": image_activate,
    "image deactivate": image_deactivate,
    "image-diff reject": image_diff_reject,
    "image-install list": image_install_list,
    "image-install queue": image_install_queue,
}
"""The function of each command, by its group and name, in the order of the help."""
EXIT_STATUS_HELP = (
    "Exit status: 0 success, 2 wrong usage or configuration, 4 authentication or permission, 5 worth another try, "
    "6 refused, 7 outcome unknown, 129, 130 or 143 interrupted."
)
"""Last paragraph of the help of each of these commands."""


def _set_active(
    image_id: int, connection: ConnectionOptions, verbosity: Verbosity, *, active: bool, as_json: bool
) -> Command:
    from clanforge_async.cli.image_commands import set_active  # noqa: PLC0415 - as above

    return _run(set_active(connection, image_id, _output(verbosity, as_json=as_json), active=active), verbosity)


def _output(verbosity: Verbosity, *, as_json: bool) -> OutputOptions:
    return OutputOptions(as_json=as_json, quiet=verbosity.quiet)


def _run(command: Command, verbosity: Verbosity) -> Command:
    return run_with_logging(command, verbosity.verbose)
