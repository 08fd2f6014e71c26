"""Arguments and options of all commands."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from attrs import fields, frozen, has, resolve_types

from clanforge_async.cli import parsing
from clanforge_async.refs import JobRef

if TYPE_CHECKING:
    from clanforge_async import ClanforgeClient, JobWatcher

EXIT_STATUS_HELP = (
    "Exit status: 0 all completed, 1 failed or squashed, 2 wrong usage or configuration, 3 timeout, "
    "4 authentication or permission, 5 worth another try, 6 refused, 7 outcome unknown, 129, 130 or 143 interrupted; "
    "of several jobs, the highest."
)
"""Last paragraph of the help of each command that waits for jobs, or may do so."""
STATUS_EXIT_STATUS_HELP = (
    "Exit status: 0 read, and not failed, 1 failed or squashed, 2 wrong usage or configuration, 4 authentication or "
    "permission, 5 worth another try, 6 refused, 129, 130 or 143 interrupted; of several jobs, the highest."
)
"""Last paragraph of the help of each command that reads the status of jobs."""
DEFAULT_HEARTBEAT = 300.0

JobId = Annotated[
    int,
    typer.Argument(metavar="ID", parser=parsing.parse_positive_int, show_default=False, help="The job's ID, a number."),
]
JobRefs = Annotated[
    list[JobRef],
    typer.Argument(
        metavar="REF",
        parser=parsing.parse_refs,
        callback=parsing.flatten_refs,
        autocompletion=parsing.complete_kind,
        help="image-update/ID, image-diff/ID or image-version/ID, optionally followed by @SINCE; - reads them from "
        "stdin, one a line.",
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
        parser=parsing.parse_positive_int,
        help="Account service ID (overrides CLANFORGE_ACCOUNT_SERVICE_ID).",
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="T",
        parser=parsing.parse_positive_duration,
        help="Stop waiting after this time (45s, 90m, 1h30m, or seconds).",
    ),
]
Interval = Annotated[
    float | None,
    typer.Option(
        "--interval",
        metavar="T",
        parser=parsing.parse_positive_duration,
        help="Fixed poll interval (default: adaptive, from ETA and progress).",
    ),
]
OutageTolerance = Annotated[
    float | None,
    typer.Option(
        "--outage-tolerance",
        metavar="T",
        parser=parsing.parse_duration_or_zero,
        show_default=False,
        help="Stop watching a job after this time of unbroken failure of the API or the network (default: 5m).",
    ),
]
Heartbeat = Annotated[
    float,
    typer.Option(
        "--heartbeat",
        metavar="T",
        parser=parsing.parse_duration_or_zero,
        show_default=False,
        help="In a pipe, print a line after this time without a change (default: 5m; 0: never).",
    ),
]
HistoryPath = Annotated[
    Path | None,
    typer.Option(
        "--history", metavar="FILE", dir_okay=False, help="Predict ends from the durations in FILE, and add new ones."
    ),
]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first job that fails or is squashed.")]
ReportPath = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE", parser=parsing.parse_output_path, help="Write an HTML report to FILE."),
]
JUnitPath = Annotated[
    Path | None,
    typer.Option(
        "--junit",
        metavar="FILE",
        parser=parsing.parse_output_path,
        help="Write JUnit XML to FILE, a test for each job or image.",
    ),
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
    int, typer.Option("--port", metavar="P", parser=parsing.parse_port, help="Port to listen on; 0: any free port.")
]
Speed = Annotated[
    float,
    typer.Option(
        "--speed",
        metavar="X",
        parser=parsing.parse_speed,
        show_default=False,
        help="Speed factor (10 = ten times faster).",
    ),
]


Jobs = Annotated[
    int,
    typer.Option(
        "--jobs",
        metavar="N",
        parser=parsing.parse_count,
        show_default=False,
        help="Add N image versions, with IDs from 20001 on.",
    ),
]
States = Annotated[
    str,
    typer.Option(
        "--states",
        metavar="S",
        help="States of these jobs, with the seconds in each, such as created,running:40,failed.",
    ),
]
FaultNames = Annotated[
    list[str] | None,
    typer.Option(
        "--fault",
        metavar="NAME[:SHARE]",
        show_default=False,
        help="Inject a fault into this share of the requests (default: 1); repeatable. "
        "NAME: 429, 502, 503, drop, truncate, html, stale, latency=2s.",
    ),
]


@frozen(kw_only=True)
class SimulationOptions:
    """Options of a simulated API.

    Attributes:
        speed: Speed factor of the jobs.
        jobs: Number of further image versions.
        states: States of these jobs.
        faults: Faults to inject, as text.
    """

    speed: Speed = 1.0
    jobs: Jobs = 0
    states: States = "created,queued:5,running:30,completed"
    faults: FaultNames = None


@frozen(kw_only=True)
class ConnectionOptions:
    """Options that override the environment.

    Attributes:
        base_url: Base URL of the API.
        account_service_id: The account.
    """

    base_url: BaseUrl = None
    account_service_id: AccountServiceId = None

    def client(self, **options: Any) -> ClanforgeClient:
        """Return a client with the credentials from the environment, and with further options."""
        from clanforge_async import ClanforgeClient  # noqa: PLC0415 - loads httpx, which --help doesn't need

        given = {"base_url": self.base_url, "account_service_id": self.account_service_id}
        return ClanforgeClient.from_env(**{k: v for k, v in given.items() if v is not None}, **options)


@frozen(kw_only=True)
class WatchOptions:
    """Options of a watch.

    Attributes:
        timeout: Maximum time to watch, in seconds; None: no limit.
        interval: Seconds between polls; None: the watcher's default strategy.
        outage_tolerance: Seconds of unbroken failure before a watch gives up; None: the watcher's default.
        history: File with the durations of ended jobs; None: no history.
    """

    timeout: Timeout = None
    interval: Interval = None
    outage_tolerance: OutageTolerance = None
    history: HistoryPath = None

    def watcher(self, client: ClanforgeClient) -> JobWatcher:
        """Return a watcher with these options."""
        from clanforge_async import JobHistory, JobWatcher  # noqa: PLC0415 - as above

        given = {"interval": self.interval, "outage_tolerance": self.outage_tolerance}
        options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if self.history is not None:
            options["history"] = JobHistory(self.history)
        return JobWatcher(client, timeout=self.timeout, **options)


@frozen(kw_only=True)
class ProgressOptions:
    """Options for how a watch reports its progress and results.

    Attributes:
        heartbeat: Seconds without a change after which a pipe gets a line anyway; 0: never.
        report: File for the HTML report; None: no report.
        junit: File for the JUnit XML; None: none.
    """

    heartbeat: Heartbeat = DEFAULT_HEARTBEAT
    report: ReportPath = None
    junit: JUnitPath = None


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
