"""The commands' signatures: each takes the parsed arguments and returns the coroutine to run.

The docstring is the command's help. Each function imports the code that it runs, since ``--help`` does not need it.
"""

from __future__ import annotations

from clanforge_async.cli import parameters as params
from clanforge_async.cli import temporal_parameters as temporal_params
from clanforge_async.cli.logs import run_with_logging
from clanforge_async.cli.output.select import OutputOptions
from clanforge_async.cli.parameters import ConnectionOptions, ProgressOptions, Verbosity, WatchOptions
from clanforge_async.cli.temporal_parameters import TemporalOptions
from clanforge_async.cli.usage import Command, UsageError
from clanforge_async.refs import JobRef


def watch(
    refs: params.JobRefs,
    *,
    watch_options: WatchOptions,
    fail_fast: params.FailFast = False,
    temporal_options: TemporalOptions,
    progress: ProgressOptions,
    connection: ConnectionOptions,
    verbosity: Verbosity,
    as_json: params.Json = False,
) -> Command:
    """Wait for one or more jobs to finish."""
    output_options = make_output_options(progress, verbosity, as_json=as_json)
    if temporal_options.temporal is not None:
        if watch_options != WatchOptions(timeout=watch_options.timeout):
            msg = "with --temporal, --interval, --outage-tolerance and --history are the workers' own"
            raise UsageError(msg)
        from clanforge_async.cli import worker  # noqa: PLC0415 - needs the extra 'temporal'

        watched = worker.watch(refs, temporal_options, watch_options.timeout, output_options, fail_fast=fail_fast)
        return run_with_logging(watched, verbosity.verbose)
    if temporal_options != TemporalOptions():
        msg = "--id and --task-queue need --temporal"
        raise UsageError(msg)
    from clanforge_async.cli.commands import watch  # noqa: PLC0415 - --help needs no event loop

    command = watch(connection, refs, watch_options, output_options, fail_fast=fail_fast)
    return run_with_logging(command, verbosity.verbose)


def worker(
    temporal: temporal_params.TemporalServer,
    *,
    task_queue: temporal_params.TaskQueue = "clanforge",
    max_rate: temporal_params.MaxRate = None,
    connection: ConnectionOptions,
    verbosity: Verbosity,
) -> Command:
    """Poll for the watches of a Temporal task queue.

    Runs until Ctrl-C.
    """
    from clanforge_async.cli.worker import work  # noqa: PLC0415 - needs the extra 'temporal'

    options = TemporalOptions(temporal=temporal, task_queue=task_queue)
    return run_with_logging(work(connection, options, max_rate), verbosity.verbose)


def status(
    refs: params.JobRefs, connection: ConnectionOptions, verbosity: Verbosity, as_json: params.Json = False
) -> Command:
    """Show the current status of one or more jobs.

    Several are a table with ages and estimated ends. Of a single one, everything that is known is shown.
    """
    from clanforge_async.cli.status import show_statuses  # noqa: PLC0415 - as above

    output_options = OutputOptions(as_json=as_json, quiet=verbosity.quiet)
    return run_with_logging(show_statuses(connection, refs, output_options), verbosity.verbose)


def doctor(connection: ConnectionOptions, verbosity: Verbosity) -> Command:
    """Check configuration, network, credentials and clock.

    A line for each step, up to the first that fails, with what to do about it. Takes a second, or up to 10 seconds for
    a step that hangs. Changes nothing.
    """
    from clanforge_async.cli.doctor import examine  # noqa: PLC0415 - as above

    return run_with_logging(examine(connection, quiet=verbosity.quiet), verbosity.verbose)


def image_version_status(
    image_version_id: params.JobId, connection: ConnectionOptions, verbosity: Verbosity, as_json: params.Json = False
) -> Command:
    """Show an image version job's current status."""
    return _status(JobRef.image_version(image_version_id), connection, verbosity, as_json=as_json)


def image_diff_status(
    diff_id: params.JobId, connection: ConnectionOptions, verbosity: Verbosity, as_json: params.Json = False
) -> Command:
    """Show an image diff job's current status."""
    return _status(JobRef.image_diff(diff_id), connection, verbosity, as_json=as_json)


def image_diff_retry(
    diff_id: params.JobId,
    *,
    wait: params.Wait = False,
    watch_options: WatchOptions,
    progress: ProgressOptions,
    connection: ConnectionOptions,
    verbosity: Verbosity,
    as_json: params.Json = False,
) -> Command:
    """Run an image diff's analysis again."""
    ref = JobRef.image_diff(diff_id)
    return _retry(
        ref, connection, verbosity, watch_options=watch_options, progress=progress, wait=wait, as_json=as_json
    )


def image_update_status(
    update_id: params.JobId, connection: ConnectionOptions, verbosity: Verbosity, as_json: params.Json = False
) -> Command:
    """Show an image update job's current status."""
    return _status(JobRef.image_update(update_id), connection, verbosity, as_json=as_json)


def image_update_retry(
    update_id: params.JobId,
    *,
    wait: params.Wait = False,
    watch_options: WatchOptions,
    progress: ProgressOptions,
    connection: ConnectionOptions,
    verbosity: Verbosity,
    as_json: params.Json = False,
) -> Command:
    """Run an image update again: the build machine pulls the same build."""
    ref = JobRef.image_update(update_id)
    return _retry(
        ref, connection, verbosity, watch_options=watch_options, progress=progress, wait=wait, as_json=as_json
    )


def simulate(
    host: params.Host = "127.0.0.1", port: params.Port = 8080, *, simulation: params.SimulationOptions
) -> Command:
    """Serve a simulated API with a few jobs, until Ctrl-C."""
    from clanforge_async.cli.simulate import simulate  # noqa: PLC0415 - needs the extra 'simulator'

    return simulate(host, port, simulation)


def demo(verbosity: Verbosity, report: params.ReportPath = None) -> Command:
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
    verbosity: Verbosity,
    *,
    watch_options: WatchOptions,
    progress: ProgressOptions,
    wait: bool,
    as_json: bool,
) -> Command:
    from clanforge_async.cli.commands import retry  # noqa: PLC0415 - as above

    if not wait and (watch_options != WatchOptions() or progress != ProgressOptions()):
        msg = "the options of a watch, such as --timeout and --report, need --wait"
        raise UsageError(msg)
    output_options = make_output_options(progress, verbosity, as_json=as_json)
    command = retry(connection, ref, watch_options if wait else None, output_options)
    return run_with_logging(command, verbosity.verbose)


def make_output_options(progress: ProgressOptions, verbosity: Verbosity, *, as_json: bool) -> OutputOptions:
    """Return the options that select the output."""
    return OutputOptions(
        as_json=as_json,
        quiet=verbosity.quiet,
        report=progress.report,
        junit=progress.junit,
        heartbeat=progress.heartbeat,
    )
