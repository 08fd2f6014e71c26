"""Signatures of ``clanforge release``, ``release resume`` and ``release abort``."""

from __future__ import annotations

import typer

from clanforge_async.cli import parameters as params
from clanforge_async.cli import release_parameters as release_params
from clanforge_async.cli.logs import run_with_logging
from clanforge_async.cli.output.select_releases import ReleaseOutputOptions
from clanforge_async.cli.parameters import ConnectionOptions, Verbosity, with_options
from clanforge_async.cli.release_parameters import AbortOptions, Answer, BuildOptions, DrivingOptions
from clanforge_async.cli.usage import Command

_EPILOG = (
    "Exit status: 0 released, unchanged or held, 1 a job failed, or the release was rejected, superseded, or its "
    "machines failed, 2 wrong usage or configuration, 3 timeout, 4 authentication or permission, 5 worth another try, "
    "6 refused or locked by another, 7 outcome unknown: look before you resume, 129, 130 or 143 interrupted; of "
    "several releases, the highest."
)

release: typer.Typer = typer.Typer(
    help="Release images: from a build to the machines that run it.", rich_markup_mode=None, epilog=_EPILOG
)


@release.callback(invoke_without_command=True)
@with_options
def _release(
    context: typer.Context,
    *,
    build: BuildOptions,
    driving: DrivingOptions,
    dry_run: release_params.DryRun = False,
    connection: ConnectionOptions,
    verbosity: Verbosity,
    as_json: params.Json = False,
) -> Command | None:
    """Release images: from a build to the machines that run it."""
    if context.invoked_subcommand is not None:
        return None
    from clanforge_async.cli import release as commands  # noqa: PLC0415 - --help needs no event loop

    output = ReleaseOutputOptions(as_json=as_json, quiet=verbosity.quiet)
    if dry_run:
        return run_with_logging(commands.check(connection, build, driving, output), verbosity.verbose)
    return run_with_logging(commands.start(connection, build, driving, output), verbosity.verbose)


@release.command("resume", epilog=_EPILOG)
@with_options
def _release_resume(
    targets: release_params.Targets,
    *,
    answer: Answer,
    repeat: release_params.Repeat = False,
    build: BuildOptions,
    driving: DrivingOptions,
    connection: ConnectionOptions,
    verbosity: Verbosity,
    as_json: params.Json = False,
) -> Command:
    """Resume releases from their tokens, or from a journal."""
    from clanforge_async.cli import release as commands  # noqa: PLC0415 - as above

    output = ReleaseOutputOptions(as_json=as_json, quiet=verbosity.quiet)
    resuming = commands.resume(connection, targets, build, driving, output, answer=answer, repeat=repeat)
    return run_with_logging(resuming, verbosity.verbose)


@release.command("abort", epilog=_EPILOG)
@with_options
def _release_abort(
    targets: release_params.Targets,
    *,
    options: AbortOptions,
    connection: ConnectionOptions,
    verbosity: Verbosity,
    as_json: params.Json = False,
) -> Command:
    """Free the images of what releases created, and of nothing else."""
    from clanforge_async.cli import release as commands  # noqa: PLC0415 - as above

    output = ReleaseOutputOptions(as_json=as_json, quiet=verbosity.quiet)
    return run_with_logging(commands.abort(connection, targets, options, output), verbosity.verbose)
