"""The arguments and options that commands share, declared once."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from clanforge_async import JobRef


def _ref(text: str) -> JobRef:
    try:
        return JobRef.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        msg = f"{text!r} is not a positive number of seconds"
        raise typer.BadParameter(msg)
    return seconds


Id = Annotated[int, typer.Argument(metavar="ID", min=1, show_default=False)]
Refs = Annotated[
    list[JobRef],
    typer.Argument(metavar="REF", parser=_ref, help="image-version/ID or image-diff/ID, with @SINCE at will."),
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
    typer.Option("--timeout", metavar="S", parser=_seconds, help="Give up after so many seconds."),
]
Interval = Annotated[
    float | None,
    typer.Option("--interval", metavar="S", parser=_seconds, help="Seconds between polls; else by the job's own eta."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until the new run has ended.")]
Host = Annotated[str, typer.Option("--host", metavar="H", help="The address to listen on.")]
Port = Annotated[int, typer.Option("--port", metavar="P", min=0, max=65535, help="The port; 0: one that is free.")]
Speed = Annotated[float, typer.Option("--speed", metavar="X", parser=_seconds, help="How many times as fast.")]
