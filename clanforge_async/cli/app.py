"""The commands' signatures: each parses its arguments and returns the coroutine to run."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Annotated, Any, TypeAlias, cast

import typer

from clanforge_async.cli import parameters as params
from clanforge_async.cli.errors import USAGE_ERROR
from clanforge_async.cli.formatting import print_line
from clanforge_async.cli.logs import run_with_logging
from clanforge_async.cli.output.select import OutputOptions
from clanforge_async.cli.parameters import ConnectionOptions, TemporalOptions, Verbosity, WatchOptions, with_options
from clanforge_async.refs import JobRef

Command: TypeAlias = Coroutine[Any, Any, int]

UsageError: type[Exception] = cast("type[Exception]", typer.BadParameter.__base__)
"""Raised for wrong arguments. A class of click, which recent versions of typer vendor."""

app: typer.Typer = typer.Typer(
    name="clanforge",
    help="Retry image diffs, and wait for image versions and diffs of the Clanforge game-image API.",
    epilog="Credentials are read only from the environment: CLANFORGE_ACCESS_KEY with CLANFORGE_SECRET_KEY, "
    "or CLANFORGE_TOKEN.",
    rich_markup_mode=None,
)
image_version: typer.Typer = typer.Typer(help="Image versions.", rich_markup_mode=None)
image_diff: typer.Typer = typer.Typer(help="Image diffs.", rich_markup_mode=None)
app.add_typer(image_version, name="image-version")
app.add_typer(image_diff, name="image-diff")


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
    from clanforge_async.cli.commands import retry  # noqa: PLC0415 - --help needs no event loop

    if not wait and (watch_options != WatchOptions() or report):
        msg = "--timeout, --interval, --fail-fast and --report need --wait"
        raise UsageError(msg)
    output_options = OutputOptions(as_json=as_json, quiet=verbosity.quiet, report=report)
    return run_with_logging(
        retry(connection, diff_id, watch_options if wait else None, output_options), verbosity.verbose
    )


@app.command("watch", epilog=params.EXIT_STATUS_HELP)
@with_options
def _watch(
    refs: params.JobRefs,
    *,
    watch_options: WatchOptions,
    temporal_options: TemporalOptions,
    report: params.ReportPath = None,
    connection: ConnectionOptions,
    verbosity: Verbosity,
    as_json: params.Json = False,
) -> Command:
    """Wait for one or more jobs to finish."""
    output_options = OutputOptions(as_json=as_json, quiet=verbosity.quiet, report=report)
    if temporal_options.temporal is not None:
        if watch_options.interval is not None:
            msg = "--interval is the workers' own with --temporal"
            raise UsageError(msg)
        from clanforge_async.cli import worker  # noqa: PLC0415 - needs the extra 'temporal'

        return run_with_logging(worker.watch(refs, temporal_options, watch_options, output_options), verbosity.verbose)
    if temporal_options != TemporalOptions():
        msg = "--id and --task-queue need --temporal"
        raise UsageError(msg)
    from clanforge_async.cli.commands import watch  # noqa: PLC0415 - as above

    return run_with_logging(watch(connection, refs, watch_options, output_options), verbosity.verbose)


@app.command("worker")
@with_options
def _worker(
    temporal: params.TemporalServer,
    *,
    task_queue: params.TaskQueue = "clanforge",
    max_rate: params.MaxRate = None,
    connection: ConnectionOptions,
    verbosity: Verbosity,
) -> Command:
    """Poll for the watches of a Temporal task queue, until Ctrl-C."""
    from clanforge_async.cli.worker import work  # noqa: PLC0415 - needs the extra 'temporal'

    options = TemporalOptions(temporal=temporal, task_queue=task_queue)
    return run_with_logging(work(connection, options, max_rate), verbosity.verbose)


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
