"""Options of ``clanforge worker`` and of ``clanforge watch --temporal``."""

from __future__ import annotations

from typing import Annotated

import typer
from attrs import frozen

from clanforge_async.cli.parsing import parse_speed

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
        "--max-rate", metavar="R", parser=parse_speed, help="Polls per second over all workers of the task queue."
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
