"""The commands' signatures: each parses its arguments and returns the coroutine to run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, cast

import typer

from clanforge_async.cli import image_signatures
from clanforge_async.cli import parameters as params
from clanforge_async.cli.errors import USAGE_ERROR
from clanforge_async.cli.formatting import print_line
from clanforge_async.cli.logs import run_with_logging
from clanforge_async.cli.output.select import OutputOptions
from clanforge_async.cli.parameters import ConnectionOptions, Verbosity, WatchOptions, with_options
from clanforge_async.cli.release_signatures import release
from clanforge_async.cli.usage import Command, UsageError
from clanforge_async.refs import JobRef

app: typer.Typer = typer.Typer(
    name="clanforge",
    help="Look at images of the Clanforge game-image API, change them, and wait for their jobs.",
    epilog="Credentials are read only from the environment: CLANFORGE_ACCESS_KEY with CLANFORGE_SECRET_KEY, "
    "or CLANFORGE_TOKEN.",
    rich_markup_mode=None,
)
image_update: typer.Typer = typer.Typer(help="Image updates.", rich_markup_mode=None)
image_version: typer.Typer = typer.Typer(help="Image versions.", rich_markup_mode=None)
image_diff: typer.Typer = typer.Typer(help="Image diffs.", rich_markup_mode=None)
_groups = {
    "release": release,
    "image-update": image_update,
    "image-diff": image_diff,
    "image-version": image_version,
    **{name: typer.Typer(help=text, rich_markup_mode=None) for name, text in image_signatures.GROUPS.items()},
}
for _name, _group in _groups.items():
    app.add_typer(_group, name=_name)


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
        from clanforge_async._version import __version__  # noqa: PLC0415 - reads the metadata, which is slow

        print_line(f"clanforge {__version__}")
        raise typer.Exit


@app.callback()
def _clanforge(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@image_version.command("status", epilog=params.EXIT_STATUS_HELP)
@with_options
def _image_version_status(
    image_version_id: params.JobId, connection: ConnectionOptions, verbosity: Verbosity, as_json: params.Json = False
) -> Command:
    """Show an image version job's current status."""
    return _status(JobRef.image_version(image_version_id), connection, verbosity, as_json=as_json)


@image_diff.command("status", epilog=params.EXIT_STATUS_HELP)
@with_options
def _image_diff_status(
    diff_id: params.JobId, connection: ConnectionOptions, verbosity: Verbosity, as_json: params.Json = False
) -> Command:
    """Show an image diff job's current status."""
    return _status(JobRef.image_diff(diff_id), connection, verbosity, as_json=as_json)


@image_diff.command("retry", epilog=params.EXIT_STATUS_HELP)
@with_options
def _image_diff_retry(
    diff_id: params.JobId,
    *,
    wait: params.Wait = False,
    watch_options: WatchOptions,
    report: params.ReportPath = None,
    connection: ConnectionOptions,
    verbosity: Verbosity,
    as_json: params.Json = False,
) -> Command:
    """Run an image diff's analysis again."""
    output_options = OutputOptions(as_json=as_json, quiet=verbosity.quiet, report=report)
    return _retry(JobRef.image_diff(diff_id), connection, watch_options, output_options, verbosity, wait=wait)


@image_update.command("status", epilog=params.EXIT_STATUS_HELP)
@with_options
def _image_update_status(
    update_id: params.JobId, connection: ConnectionOptions, verbosity: Verbosity, as_json: params.Json = False
) -> Command:
    """Show an image update job's current status."""
    return _status(JobRef.image_update(update_id), connection, verbosity, as_json=as_json)


@image_update.command("retry", epilog=params.EXIT_STATUS_HELP)
@with_options
def _image_update_retry(
    update_id: params.JobId,
    *,
    wait: params.Wait = False,
    watch_options: WatchOptions,
    report: params.ReportPath = None,
    connection: ConnectionOptions,
    verbosity: Verbosity,
    as_json: params.Json = False,
) -> Command:
    """Run an image update again: the build machine pulls the same build."""
    output_options = OutputOptions(as_json=as_json, quiet=verbosity.quiet, report=report)
    return _retry(JobRef.image_update(update_id), connection, watch_options, output_options, verbosity, wait=wait)


for _path, _function in image_signatures.COMMANDS.items():
    _group_name, _, _name = _path.partition(" ")
    _groups[_group_name].command(_name, epilog=image_signatures.EXIT_STATUS_HELP)(with_options(_function))


@app.command("watch", epilog=params.EXIT_STATUS_HELP)
@with_options
def _watch(
    refs: params.JobRefs,
    *,
    watch_options: WatchOptions,
    report: params.ReportPath = None,
    connection: ConnectionOptions,
    verbosity: Verbosity,
    as_json: params.Json = False,
) -> Command:
    """Wait for one or more jobs to finish."""
    from clanforge_async.cli.commands import watch  # noqa: PLC0415 - --help needs no event loop

    output_options = OutputOptions(as_json=as_json, quiet=verbosity.quiet, report=report)
    return run_with_logging(watch(connection, refs, watch_options, output_options), verbosity.verbose)


@app.command("simulate")
@with_options
def _simulate(host: params.Host = "127.0.0.1", port: params.Port = 8080, speed: params.Speed = 1.0) -> Command:
    """Serve a simulated API with a few jobs, until Ctrl-C."""
    from clanforge_async.cli.simulate import simulate  # noqa: PLC0415 - needs the extra 'simulator'

    return simulate(host, port, speed)


@app.command("demo")
@with_options
def _demo(verbosity: Verbosity, report: params.ReportPath = None) -> Command:
    """Watch a dozen simulated jobs; needs no configuration."""
    from clanforge_async.cli.demo import run_demo  # noqa: PLC0415 - needs the extra 'simulator'

    output_options = OutputOptions(quiet=verbosity.quiet, report=report)
    return run_with_logging(run_demo(output_options=output_options), verbosity.verbose)


def _status(ref: JobRef, connection: ConnectionOptions, verbosity: Verbosity, *, as_json: bool) -> Command:
    from clanforge_async.cli.commands import show_status  # noqa: PLC0415 - as above

    output_options = OutputOptions(as_json=as_json, quiet=verbosity.quiet)
    return run_with_logging(show_status(connection, ref, output_options), verbosity.verbose)


def _retry(
    ref: JobRef,
    connection: ConnectionOptions,
    watch_options: WatchOptions,
    output_options: OutputOptions,
    verbosity: Verbosity,
    *,
    wait: bool,
) -> Command:
    from clanforge_async.cli.commands import retry  # noqa: PLC0415 - as above

    if not wait and (watch_options != WatchOptions() or output_options.report):
        msg = "--timeout, --interval, --fail-fast and --report need --wait"
        raise UsageError(msg)
    command = retry(connection, ref, watch_options if wait else None, output_options)
    return run_with_logging(command, verbosity.verbose)
