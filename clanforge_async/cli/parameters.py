"""Arguments and options of all commands: their declarations, and the parsing of values."""

from __future__ import annotations

import codecs
import inspect
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from attrs import fields, frozen, has, resolve_types

from clanforge_async.cli.formatting import parse_duration
from clanforge_async.refs import JobKind, JobRef

if TYPE_CHECKING:
    from clanforge_async import ClanforgeClient, JobWatcher

EXIT_STATUS_HELP = (
    "Exit status: 0 all completed, 1 failed or squashed, 2 wrong usage or configuration, 3 timeout, "
    "4 authentication or permission, 5 worth another try, 6 refused, 7 outcome unknown, 129, 130 or 143 interrupted; "
    "of several jobs, the highest."
)
"""Last paragraph of the help of each command that reads or watches jobs."""
STDIN = "-"
"""Argument that stands for the references on stdin."""
_UTF16_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def parse_refs(argument: str) -> list[JobRef]:
    """Return the reference in an argument; if that is ``-``, the references on stdin, one a line.

    Raises:
        typer.BadParameter: An invalid reference.
    """
    return list(_read_stdin()) if argument == STDIN else [_parse_ref(argument)]


def flatten_refs(groups: Sequence[Sequence[JobRef]] | None) -> list[JobRef]:
    """Return the references of all arguments in order, without duplicates.

    Raises:
        typer.BadParameter: No references at all: an empty stdin is more likely a mistake than a success.
    """
    refs = list(dict.fromkeys(ref for group in groups or () for ref in group))
    if groups and not refs:
        msg = "there is nothing to watch: stdin holds no reference"
        raise typer.BadParameter(msg)
    return refs


def complete_kind(incomplete: str) -> list[str]:
    """Return the prefixes of references that the shell may complete an argument to."""
    return [f"{kind}/" for kind in JobKind if f"{kind}/".startswith(incomplete)]


def check_writable(text: str) -> Path:
    """Return the resolved path of a file to write later, so that a wrong path fails now and not hours later.

    Raises:
        OSError: The path is not a regular file, or its folder is missing or not writable.
    """
    path = Path(text).resolve()
    if path.exists() and not path.is_file():
        msg = f"{text} is not a regular file"
        raise OSError(msg)
    if not path.parent.is_dir():
        msg = f"there is no folder {path.parent}"
        raise OSError(msg)
    if not os.access(path.parent, os.W_OK):
        msg = f"the folder {path.parent} is not yours to write to"
        raise OSError(msg)
    return path


def _read_stdin() -> Iterator[JobRef]:
    for number, line in enumerate(_stdin_lines(), start=1):
        source = f"line {number} of stdin is "
        if line.startswith(_UTF16_BOMS) or b"\0" in line:
            msg = f"{source}not a job reference: it is not UTF-8, but looks like UTF-16"
            raise typer.BadParameter(msg)
        text = line.removeprefix(codecs.BOM_UTF8).decode(errors="backslashreplace")
        if ref := text.partition("#")[0].strip():
            yield _parse_ref(ref, source)


def _stdin_lines() -> Iterator[bytes]:
    """Return the lines as bytes: the encoding of `sys.stdin` is the locale's, on Windows a code page."""
    try:
        for line in getattr(sys.stdin, "buffer", sys.stdin) or ():
            # A program that calls main() may have replaced stdin by a stream of text.
            yield from (line if isinstance(line, bytes) else line.encode(errors="backslashreplace")).splitlines()
    except OSError as error:
        msg = f"cannot read stdin: {error}"
        raise typer.BadParameter(msg) from None


def _parse_ref(text: str, source: str = "") -> JobRef:
    try:
        return JobRef.parse(text)
    except ValueError as error:
        msg = f"{source}{error}"
        raise typer.BadParameter(msg) from None


def _parse_duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _parse_speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not 0 < speed < math.inf:
        msg = f"{text!r} is not a positive number"
        raise typer.BadParameter(msg)
    return speed


def _parse_report_path(text: str) -> Path:
    try:
        return check_writable(text)
    except OSError as error:
        msg = f"cannot write the report: {error}"
        raise typer.BadParameter(msg) from None


JobId = Annotated[int, typer.Argument(metavar="ID", min=1, show_default=False)]
JobRefs = Annotated[
    list[JobRef],
    typer.Argument(
        metavar="REF",
        parser=parse_refs,
        callback=flatten_refs,
        autocompletion=complete_kind,
        help="image-version/ID or image-diff/ID, optionally followed by @SINCE; - reads them from stdin, one a line.",
    ),
]
BaseUrl = Annotated[
    str | None,
    typer.Option("--base-url", metavar="URL", help="API base URL (overrides CLANFORGE_BASE_URL)."),
]
AccountServiceId = Annotated[
    int | None,
    typer.Option(
        "--account-service-id",
        metavar="ASID",
        min=1,
        help="Account service ID (overrides CLANFORGE_ACCOUNT_SERVICE_ID).",
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="T",
        parser=_parse_duration,
        help="Stop waiting after this time (45s, 90m, 1h30m, or seconds).",
    ),
]
Interval = Annotated[
    float | None,
    typer.Option(
        "--interval",
        metavar="T",
        parser=_parse_duration,
        help="Fixed poll interval (default: adaptive, from ETA and progress).",
    ),
]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first job that fails or is squashed.")]
ReportPath = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE", parser=_parse_report_path, help="Write an HTML report to FILE."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only failures, to stderr.")]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose", "-v", count=True, show_default=False, help="Print the log to stderr; -vv: each request too."
    ),
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the new run to finish.")]
Host = Annotated[str, typer.Option("--host", metavar="H", help="Address to listen on.")]
Port = Annotated[
    int, typer.Option("--port", metavar="P", min=0, max=65535, help="Port to listen on; 0: any free port.")
]
Speed = Annotated[
    float, typer.Option("--speed", metavar="X", parser=_parse_speed, help="Speed factor (10 = ten times faster).")
]


Temporal = Annotated[
    str | None,
    typer.Option("--temporal", metavar="HOST:PORT", help="Watch on this Temporal server, whose workers poll."),
]
TemporalServer = Annotated[str, typer.Option("--temporal", metavar="HOST:PORT", help="The Temporal server.")]
TaskQueue = Annotated[str, typer.Option("--task-queue", metavar="Q", help="Task queue of the Temporal workers.")]
WatchId = Annotated[
    str | None,
    typer.Option("--id", metavar="ID", help="With --temporal: let the watches go on, to come back to by this id."),
]
MaxRate = Annotated[
    float | None,
    typer.Option(
        "--max-rate", metavar="R", parser=_parse_speed, help="Polls per second over all workers of the task queue."
    ),
]


@frozen(kw_only=True)
class TemporalOptions:
    """Where watches run on Temporal.

    Attributes:
        temporal: Host and port of the server; None: the watches run here.
        task_queue: The task queue.
        id: Id of the watches, which then outlive the command.
    """

    temporal: Temporal = None
    task_queue: TaskQueue = "clanforge"
    id: WatchId = None


@frozen(kw_only=True)
class ConnectionOptions:
    """Options that override the environment.

    Attributes:
        base_url: Base URL of the API.
        account_service_id: The account.
    """

    base_url: BaseUrl = None
    account_service_id: AccountServiceId = None

    def client(self) -> ClanforgeClient:
        """Return a client with the credentials from the environment."""
        from clanforge_async import ClanforgeClient  # noqa: PLC0415 - loads httpx, which --help doesn't need

        given = {"base_url": self.base_url, "account_service_id": self.account_service_id}
        return ClanforgeClient.from_env(**{name: value for name, value in given.items() if value is not None})


@frozen(kw_only=True)
class WatchOptions:
    """Options of a watch.

    Attributes:
        timeout: Maximum time to watch, in seconds; None: no limit.
        interval: Seconds between polls; None: the watcher's default strategy.
        fail_fast: Stop at the first job that fails or is squashed.
    """

    timeout: Timeout = None
    interval: Interval = None
    fail_fast: FailFast = False

    def watcher(self, client: ClanforgeClient) -> JobWatcher:
        """Return a watcher with these options."""
        from clanforge_async import JobWatcher  # noqa: PLC0415 - as above

        options: dict[str, Any] = {} if self.interval is None else {"interval": self.interval}
        return JobWatcher(client, timeout=self.timeout, **options)


@frozen(kw_only=True)
class Verbosity:
    """How much to print.

    Attributes:
        quiet: Print only failures.
        verbose: How much of the log to print: 0 warnings, 1 all events of jobs, 2 each request too.
    """

    quiet: Quiet = False
    verbose: Verbose = 0


def with_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command for typer that has one option for each field of the option classes in its signature."""
    parameters: list[inspect.Parameter] = []
    groups: dict[str, type] = {}
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        if has(parameter.annotation):
            groups[parameter.name] = parameter.annotation
            parameters += _fields_as_parameters(parameter.annotation)
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    def run(**values: Any) -> Any:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        return command(**values)

    run.__doc__ = command.__doc__
    # typer reads the signature and resolves the annotations.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # documented for this very purpose
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _fields_as_parameters(group: type) -> list[inspect.Parameter]:
    return [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
        for field in fields(resolve_types(group, include_extras=True))
    ]
