"""Signatures of ``clanforge release``, ``release resume`` and ``release abort``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from clanforge_async.cli import parameters as params
from clanforge_async.cli import release_parameters as release_params
from clanforge_async.cli.logs import run_with_logging
from clanforge_async.cli.output.select import OutputOptions
from clanforge_async.cli.parameters import ConnectionOptions, ProgressOptions, Verbosity, with_options
from clanforge_async.cli.release_parameters import AbortOptions, Answer, BuildOptions, ExecutionOptions
from clanforge_async.cli.signatures import make_output_options
from clanforge_async.cli.usage import Command, PlainCommand, UsageError

_IDS = re.compile("[0-9,]+")
_EPILOG = (
    "Exit status: 0 released, unchanged or held, 1 a job failed, or the release was rejected, superseded, or its "
    "machines failed, 2 wrong usage or configuration, 3 timeout, 4 authentication or permission, 5 worth another try, "
    "6 refused or locked by another, 7 outcome unknown: look before you resume, 129, 130 or 143 interrupted; of "
    "several releases, the highest."
)


class _ReleaseGroup(TyperGroup):
    """A group of commands whose ``--image`` accepts several ids: ``--image 501 502``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments after inserting ``--image`` before each further id."""
        return super().parse_args(ctx, list(_repeat_image_option(args)))


def _repeat_image_option(args: Sequence[str]) -> Iterator[str]:
    """Yield ``--image 501 --image 502`` for ``--image 501 502``, since a click option accepts one value."""
    is_value, follows_id = False, False
    for arg in args:
        if follows_id and _IDS.fullmatch(arg):
            yield from ("--image", arg)
            continue
        follows_id, is_value = is_value or arg.startswith("--image="), arg == "--image"
        yield arg


release: typer.Typer = typer.Typer(
    help="Release images: from a build to the machines that run it.",
    rich_markup_mode=None,
    epilog=_EPILOG,
    cls=_ReleaseGroup,
)


@release.callback(invoke_without_command=True)
@with_options
def _release(
    context: typer.Context,
    *,
    build: BuildOptions,
    execution: ExecutionOptions,
    progress: ProgressOptions,
    dry_run: release_params.DryRun = False,
    connection: ConnectionOptions,
    verbosity: Verbosity,
    as_json: params.Json = False,
) -> Command | None:
    """Release images: from a build to the machines that run it."""
    if context.invoked_subcommand is not None:
        return None
    from clanforge_async.cli import release as commands  # noqa: PLC0415 - --help needs no event loop

    output = make_output_options(progress, verbosity, as_json=as_json)
    make_command = commands.check if dry_run else commands.start
    return _run(context, make_command(connection, build, execution, output), verbosity)


@release.command("resume", cls=PlainCommand, epilog=_EPILOG)
@with_options
def _release_resume(
    context: typer.Context,
    targets: release_params.Targets,
    *,
    answer: Answer,
    repeat: release_params.Repeat = False,
    build: BuildOptions,
    execution: ExecutionOptions,
    progress: ProgressOptions,
    connection: ConnectionOptions,
    verbosity: Verbosity,
    as_json: params.Json = False,
) -> Command:
    """Resume releases from their tokens, or from a journal."""
    from clanforge_async.cli import release as commands  # noqa: PLC0415 - as above

    output = make_output_options(progress, verbosity, as_json=as_json)
    resuming = commands.resume(connection, targets, build, execution, output, answer=answer, repeat=repeat)
    return _run(context, resuming, verbosity)


@release.command("abort", cls=PlainCommand, epilog=_EPILOG)
@with_options
def _release_abort(
    context: typer.Context,
    targets: release_params.Targets,
    *,
    options: AbortOptions,
    connection: ConnectionOptions,
    verbosity: Verbosity,
    as_json: params.Json = False,
) -> Command:
    """Free the images of what releases created, and of nothing else."""
    from clanforge_async.cli import release as commands  # noqa: PLC0415 - as above

    output = OutputOptions(as_json=as_json, quiet=verbosity.quiet)
    return _run(context, commands.abort(connection, targets, options, output), verbosity)


def _run(context: typer.Context, command: Command, verbosity: Verbosity) -> Command:
    return run_with_logging(_name_command(context, command), verbosity.verbose)


async def _name_command(context: typer.Context, command: Command) -> int:
    """Run a command whose errors of usage, found while it runs, name it as those of the parser do."""
    try:
        return await command
    except UsageError as error:
        vars(error)["ctx"] = context
        raise
