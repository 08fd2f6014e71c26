"""The commands: each reads its arguments and returns what is then to be run."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from importlib import metadata
from typing import Annotated, Any, TypeAlias, cast

import typer

from clanforge_async import JobRef
from clanforge_async.cli import arguments as args
from clanforge_async.cli.outcomes import MISUSED
from clanforge_async.cli.text import write
from clanforge_async.cli.watching import Access, Pace, retry, show_status, watch

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
        write(f"clanforge {metadata.version('clanforge-async')}")
        raise typer.Exit


@app.callback()
def _clanforge(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@image_version.command("status")
def _image_version_status(
    image_version_id: args.Id,
    *,
    base_url: args.BaseUrl = None,
    account_service_id: args.AccountServiceId = None,
    as_json: args.Json = False,
) -> Command:
    """Read an image version's job once."""
    access = Access(base_url=base_url, account_service_id=account_service_id)
    return show_status(access, JobRef.image_version(image_version_id), as_json=as_json)


@image_diff.command("status")
def _image_diff_status(
    diff_id: args.Id,
    *,
    base_url: args.BaseUrl = None,
    account_service_id: args.AccountServiceId = None,
    as_json: args.Json = False,
) -> Command:
    """Read an image diff's job once."""
    access = Access(base_url=base_url, account_service_id=account_service_id)
    return show_status(access, JobRef.image_diff(diff_id), as_json=as_json)


@image_diff.command("retry")
def _image_diff_retry(
    diff_id: args.Id,
    *,
    wait: args.Wait = False,
    timeout: args.Timeout = None,
    interval: args.Interval = None,
    base_url: args.BaseUrl = None,
    account_service_id: args.AccountServiceId = None,
    as_json: args.Json = False,
) -> Command:
    """Start an image diff's analysis again. The request is never sent twice."""
    if not wait and (timeout or interval):
        msg = "--timeout and --interval need --wait"
        raise UsageError(msg)
    access = Access(base_url=base_url, account_service_id=account_service_id)
    return retry(access, diff_id, Pace(timeout=timeout, interval=interval) if wait else None, as_json=as_json)


@app.command("watch")
def _watch(
    refs: args.Refs,
    *,
    timeout: args.Timeout = None,
    interval: args.Interval = None,
    base_url: args.BaseUrl = None,
    account_service_id: args.AccountServiceId = None,
    as_json: args.Json = False,
) -> Command:
    """Wait until all of some jobs have ended."""
    access = Access(base_url=base_url, account_service_id=account_service_id)
    return watch(access, refs, Pace(timeout=timeout, interval=interval), as_json=as_json)


@app.command("simulate")
def _simulate(host: args.Host = "127.0.0.1", port: args.Port = 8080, speed: args.Speed = 1.0) -> Command:
    """Serve a simulated API with a few jobs, until Ctrl-C."""
    from clanforge_async.cli.simulation import simulate  # noqa: PLC0415 - needs another extra

    return simulate(host, port, speed)


@app.command("demo")
def _demo() -> Command:
    """Watch a dozen simulated jobs at once. There is nothing to configure."""
    from clanforge_async.cli.demo import demonstrate  # noqa: PLC0415 - needs another extra

    return demonstrate()
