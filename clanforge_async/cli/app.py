"""The commands: each reads its arguments and returns what is then to be run."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Annotated, Any, TypeAlias, cast

import typer

from clanforge_async.cli import arguments as args
from clanforge_async.cli.logs import logged
from clanforge_async.cli.options import Access, Pace, Voice, with_options
from clanforge_async.cli.outcomes import MISUSED
from clanforge_async.cli.text import write
from clanforge_async.refs import JobRef

Command: TypeAlias = Coroutine[Any, Any, int]

UsageError: type[Exception] = cast("type[Exception]", typer.BadParameter.__base__)
"""What wrong arguments raise. The class is click's, which recent versions of typer hold inside themselves."""

app: typer.Typer = typer.Typer(
    name="clanforge",
    help="Retry image diffs, and wait for image versions and diffs of the Clanforge game-image API.",
    epilog="Keys and tokens are read from the environment alone: CLANFORGE_ACCESS_KEY with CLANFORGE_SECRET_KEY, "
    "or CLANFORGE_TOKEN.",
    rich_markup_mode=None,
)
image_version: typer.Typer = typer.Typer(help="Image versions.", rich_markup_mode=None)
image_diff: typer.Typer = typer.Typer(help="Image diffs.", rich_markup_mode=None)
app.add_typer(image_version, name="image-version")
app.add_typer(image_diff, name="image-diff")


def parse(argv: Sequence[str]) -> Command | int:
    """Return the command that the arguments ask for, or the exit status where there is nothing left to do.

    Raises:
        UsageError: They make no sense.
    """
    if not argv:
        parse(["--help"])
        return MISUSED
    command = typer.main.get_command(app)
    return cast("Command | int", command.main(list(argv), prog_name="clanforge", standalone_mode=False))


def _version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata  # noqa: PLC0415 - what is not used is not loaded

        write(f"clanforge {metadata.version('clanforge-async')}")
        raise typer.Exit


@app.callback()
def _clanforge(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@image_version.command("status", epilog=args.STATUSES)
@with_options
def _image_version_status(
    image_version_id: args.Id, access: Access, voice: Voice, as_json: args.Json = False
) -> Command:
    """Read an image version's job once."""
    return _status(JobRef.image_version(image_version_id), access, voice, as_json=as_json)


@image_diff.command("status", epilog=args.STATUSES)
@with_options
def _image_diff_status(diff_id: args.Id, access: Access, voice: Voice, as_json: args.Json = False) -> Command:
    """Read an image diff's job once."""
    return _status(JobRef.image_diff(diff_id), access, voice, as_json=as_json)


@image_diff.command("retry", epilog=args.STATUSES)
@with_options
def _image_diff_retry(
    diff_id: args.Id,
    *,
    wait: args.Wait = False,
    pace: Pace,
    report: args.Report = None,
    access: Access,
    voice: Voice,
    as_json: args.Json = False,
) -> Command:
    """Start an image diff's analysis again. The request is never sent twice."""
    from clanforge_async.cli.show import Show  # noqa: PLC0415 - the rest is loaded when there is work to do
    from clanforge_async.cli.watching import retry  # noqa: PLC0415 - as above

    if not wait and (pace != Pace() or report):
        msg = "--timeout, --interval, --fail-fast and --report need --wait"
        raise UsageError(msg)
    show = Show(as_json=as_json, quiet=voice.quiet, report=report)
    return logged(retry(access, diff_id, pace if wait else None, show), voice.verbose)


@app.command("watch", epilog=args.STATUSES)
@with_options
def _watch(
    refs: args.Refs,
    *,
    pace: Pace,
    report: args.Report = None,
    access: Access,
    voice: Voice,
    as_json: args.Json = False,
) -> Command:
    """Wait until all of some jobs have ended."""
    from clanforge_async.cli.show import Show  # noqa: PLC0415 - as above
    from clanforge_async.cli.watching import watch  # noqa: PLC0415 - as above

    show = Show(as_json=as_json, quiet=voice.quiet, report=report)
    return logged(watch(access, refs, pace, show), voice.verbose)


@app.command("simulate")
@with_options
def _simulate(host: args.Host = "127.0.0.1", port: args.Port = 8080, speed: args.Speed = 1.0) -> Command:
    """Serve a simulated API with a few jobs, until Ctrl-C."""
    from clanforge_async.cli.simulation import simulate  # noqa: PLC0415 - needs another extra

    return simulate(host, port, speed)


@app.command("demo")
@with_options
def _demo(voice: Voice, report: args.Report = None) -> Command:
    """Watch a dozen simulated jobs at once. There is nothing to configure."""
    from clanforge_async.cli.demo import demonstrate  # noqa: PLC0415 - needs another extra
    from clanforge_async.cli.show import Show  # noqa: PLC0415 - as above

    return logged(demonstrate(show=Show(quiet=voice.quiet, report=report)), voice.verbose)


def _status(ref: JobRef, access: Access, voice: Voice, *, as_json: bool) -> Command:
    from clanforge_async.cli.show import Show  # noqa: PLC0415 - as above
    from clanforge_async.cli.watching import show_status  # noqa: PLC0415 - as above

    return logged(show_status(access, ref, Show(as_json=as_json, quiet=voice.quiet)), voice.verbose)
