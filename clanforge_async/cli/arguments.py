"""The arguments and options of all commands, declared once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from clanforge_async.cli.durations import seconds_of
from clanforge_async.cli.files import writable_file
from clanforge_async.cli.references import flattened, kinds_of, refs_of
from clanforge_async.refs import JobRef


def _duration(text: str) -> float:
    try:
        return seconds_of(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not 0 < factor < math.inf:
        msg = f"{text!r} is not a positive number"
        raise typer.BadParameter(msg)
    return factor


def _report(text: str) -> Path:
    try:
        return writable_file(text)
    except OSError as error:
        msg = f"no report can be written there: {error}"
        raise typer.BadParameter(msg) from None


STATUSES = (
    "Exit status: 0 all completed, 1 failed or squashed, 2 wrong usage or configuration, 3 timeout, "
    "4 authentication or permission, 5 any other error, 130 interrupted; of several jobs, the highest."
)
"""What stands at the end of the help for commands about jobs."""

Id = Annotated[int, typer.Argument(metavar="ID", min=1, show_default=False)]
Refs = Annotated[
    list[JobRef],
    typer.Argument(
        metavar="REF",
        parser=refs_of,
        callback=flattened,
        autocompletion=kinds_of,
        help="image-version/ID or image-diff/ID, with @SINCE at will; - reads them from stdin, one a line.",
    ),
]
BaseUrl = Annotated[
    str | None,
    typer.Option("--base-url", metavar="URL", help="Where the API is, before CLANFORGE_BASE_URL."),
]
AccountServiceId = Annotated[
    int | None,
    typer.Option(
        "--account-service-id", metavar="ASID", min=1, help="The account, before CLANFORGE_ACCOUNT_SERVICE_ID."
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout", metavar="T", parser=_duration, help="Give up after so long: 45s, 90m, 1h30m, or seconds."
    ),
]
Interval = Annotated[
    float | None,
    typer.Option("--interval", metavar="T", parser=_duration, help="Time between polls; else by the job's own eta."),
]
FailFast = Annotated[
    bool, typer.Option("--fail-fast", help="End with the first job that fails or is squashed; leave the others.")
]
Report = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE", parser=_report, help="Leave an HTML page that shows how it went."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Tell of failures alone, on stderr.")]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose", "-v", count=True, show_default=False, help="Show the log on stderr; -vv: each request too."
    ),
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until the new run has ended.")]
Host = Annotated[str, typer.Option("--host", metavar="H", help="The address to listen on.")]
Port = Annotated[int, typer.Option("--port", metavar="P", min=0, max=65535, help="The port; 0: one that is free.")]
Speed = Annotated[float, typer.Option("--speed", metavar="X", parser=_factor, help="How many times as fast.")]
