"""Options of ``clanforge worker`` and of ``clanforge watch --temporal``."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer
from attrs import frozen

from clanforge_async.cli.parsing import parse_speed

_DEFAULT_QUEUE = "clanforge"

Temporal = Annotated[
    str | None,
    typer.Option("--temporal", metavar="HOST:PORT", help="Run the watches on this Temporal server; its workers poll."),
]
TemporalServer = Annotated[str, typer.Option("--temporal", metavar="HOST:PORT", help="The Temporal server.")]
TaskQueue = Annotated[str, typer.Option("--task-queue", metavar="Q", help="Task queue of the Temporal workers.")]
WatchId = Annotated[
    str | None,
    typer.Option("--id", metavar="ID", help="With --temporal: the watches continue after this command, under this id."),
]
MaxRate = Annotated[
    float | None,
    typer.Option(
        "--max-rate", metavar="R", parser=parse_speed, help="Polls per second of all workers of the task queue."
    ),
]


@frozen(kw_only=True)
class TemporalOptions:
    """The Temporal server and the task queue on which watches run.

    Attributes:
        temporal: Host and port of the server; None: the watches run in this process.
        task_queue: The task queue.
        id: Id of the watches; with an id, they continue after the command.
    """

    temporal: Temporal = None
    task_queue: TaskQueue = _DEFAULT_QUEUE
    id: WatchId = None

    @property
    def resume_options(self) -> str:
        """The options with which a command uses the same server and task queue, each preceded by a space."""
        queue = "" if self.task_queue == _DEFAULT_QUEUE else f" --task-queue {shlex.quote(self.task_queue)}"
        return f" --temporal {shlex.quote(self.temporal or '')}{queue}"
