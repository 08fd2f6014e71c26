"""Checks the arguments of a watcher's calls."""

from __future__ import annotations

import math
from typing import TypeGuard

from attrs import frozen

from clanforge_async._validation import is_number
from clanforge_async._watching.notifier import Notifier, OnError, OnUpdate
from clanforge_async.errors import ConfigurationError
from clanforge_async.jobs import Job
from clanforge_async.refs import JobRef


@frozen
class WatchOptions:
    """The checked arguments of a call, for each of its watches."""

    timeout: float | None
    on_update: OnUpdate | None
    on_error: OnError | None

    def notifier(self, ref: JobRef) -> Notifier | None:
        """Return the notifier that delivers a watch's updates and errors; None without callbacks."""
        if self.on_update is None and self.on_error is None:
            return None
        return Notifier(ref, self.on_update, self.on_error)


def ref_of(target: JobRef | Job) -> JobRef:
    """Return a target's reference.

    Raises:
        TypeError: The target is neither a job nor a reference.
    """
    if isinstance(target, JobRef):
        return target
    if isinstance(target, Job):
        return target.ref
    msg = f"a target must be a JobRef or a Job, not {type(target).__name__}"
    raise TypeError(msg)


def has_ended(target: JobRef | Job) -> TypeGuard[Job]:
    """Whether a target is a terminal job, so that no poll is needed."""
    return isinstance(target, Job) and target.is_terminal and target.newer_than is None


def check_callback(name: str, callback: object) -> None:
    """Check an argument that is a callback or None.

    Raises:
        TypeError: It is not callable.
    """
    if callback is not None and not callable(callback):
        msg = f"{name} must be callable, not {type(callback).__name__}"
        raise TypeError(msg)


def checked_timeout(timeout: float | None) -> float | None:
    """Return a timeout in seconds; None: no limit.

    Raises:
        ConfigurationError: The timeout is not a number.
    """
    if timeout is None or is_number(timeout):
        return None if timeout == math.inf else timeout
    msg = "timeout must be a number of seconds, or None"
    raise ConfigurationError(msg)
