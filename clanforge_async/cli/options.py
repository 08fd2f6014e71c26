"""Options that commands have in common, as objects: a command takes one, and its fields become options."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import fields, frozen, has, resolve_types

from clanforge_async.cli import arguments as args

if TYPE_CHECKING:
    from clanforge_async import ClanforgeClient, JobWatcher


@frozen(kw_only=True)
class Access:
    """What overrides the environment in how the API is reached.

    Attributes:
        base_url: Where it is.
        account_service_id: Whose account is meant.
    """

    base_url: args.BaseUrl = None
    account_service_id: args.AccountServiceId = None

    def client(self) -> ClanforgeClient:
        """Return a client with the credentials that the environment holds."""
        from clanforge_async import ClanforgeClient  # noqa: PLC0415 - an HTTP client is a lot to load for --help

        given = {"base_url": self.base_url, "account_service_id": self.account_service_id}
        return ClanforgeClient.from_env(**{name: value for name, value in given.items() if value is not None})


@frozen(kw_only=True)
class Pace:
    """How patiently jobs are watched.

    Attributes:
        timeout: Seconds to watch, at the most; None: no limit.
        interval: Seconds between polls; None: left to the watcher, which goes by the server's estimates.
        fail_fast: Whether the first job that fails or is squashed is the end.
    """

    timeout: args.Timeout = None
    interval: args.Interval = None
    fail_fast: args.FailFast = False

    def watcher(self, client: ClanforgeClient) -> JobWatcher:
        """Return a watcher of this pace."""
        from clanforge_async import JobWatcher  # noqa: PLC0415 - as above

        options: dict[str, Any] = {} if self.interval is None else {"interval": self.interval}
        return JobWatcher(client, timeout=self.timeout, **options)


@frozen(kw_only=True)
class Voice:
    """How much is told.

    Attributes:
        quiet: Whether to tell of failures alone.
        verbose: How much of the log to tell: nothing but warnings, its lines, or each request too.
    """

    quiet: args.Quiet = False
    verbose: args.Verbose = 0


def with_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command that has an option for each field of the objects it takes."""
    parameters: list[inspect.Parameter] = []
    groups: dict[str, type] = {}
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        if has(parameter.annotation):
            groups[parameter.name] = parameter.annotation
            parameters += _options(parameter.annotation)
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    def run(**values: Any) -> Any:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        return command(**values)

    run.__doc__ = command.__doc__
    # typer reads the one, and resolves the other.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # documented for this very purpose
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _options(group: type) -> list[inspect.Parameter]:
    return [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
        for field in fields(resolve_types(group, include_extras=True))
    ]
