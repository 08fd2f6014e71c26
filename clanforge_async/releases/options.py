"""The arguments of a single run of a release."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

from attrs import frozen

from clanforge_async._validation import is_number
from clanforge_async.errors import ConfigurationError
from clanforge_async.releases.actions import Approve
from clanforge_async.releases.release import ReleaseStep
from clanforge_async.releases.results import ReleaseEvent

OnEvent: TypeAlias = Callable[[ReleaseEvent], Awaitable[object] | object]
Unknown: TypeAlias = Literal["raise", "repeat"]

NO_LIMITS: Mapping[ReleaseStep, float] = MappingProxyType({})


@frozen(kw_only=True)
class RunOptions:
    """Options of a single run of a release.

    Attributes:
        approve: The decision about the diff, or a function that makes it.
        may_repeat: Whether the caller has confirmed that the call with unknown outcome had no effect.
        timeout: Seconds for the whole release; None: no limit.
        step_timeouts: Seconds for each step.
        on_event: Called with each event.
    """

    approve: Approve = None
    may_repeat: bool = False
    timeout: float | None = None
    step_timeouts: Mapping[ReleaseStep, float] = NO_LIMITS
    on_event: OnEvent | None = None


def make_options(
    approve: Approve,
    timeout: float | None,
    step_timeouts: Mapping[ReleaseStep, float],
    on_event: OnEvent | None,
    unknown: Unknown,
) -> RunOptions:
    """Check the arguments of `Releaser.run`, and return them as options.

    Raises:
        TypeError: A callback is not callable.
        ConfigurationError: A value is invalid.
    """
    if not (callable(approve) or approve is None or isinstance(approve, bool) or approve == "hold"):
        msg = f"approve must be callable, a bool, None or 'hold', not {approve!r}"
        raise TypeError(msg)
    if on_event is not None and not callable(on_event):
        msg = f"on_event must be callable, not {type(on_event).__name__}"
        raise TypeError(msg)
    if unknown not in ("raise", "repeat"):
        msg = f"unknown must be 'raise' or 'repeat', not {unknown!r}"
        raise ConfigurationError(msg)
    limits = {_to_step(step): seconds for step, seconds in step_timeouts.items()}
    for seconds in (timeout, *limits.values()):
        check_timeout(seconds)
    return RunOptions(
        approve=approve,
        may_repeat=unknown == "repeat",
        timeout=None if timeout == math.inf else timeout,
        step_timeouts=limits,
        on_event=on_event,
    )


def _to_step(step: ReleaseStep | str) -> ReleaseStep:
    try:
        return ReleaseStep(step)
    except ValueError:
        msg = f"step_timeouts has an unknown step: {step!r}"
        raise ConfigurationError(msg) from None


def check_timeout(seconds: float | None) -> None:
    """Check a timeout.

    Raises:
        ConfigurationError: The timeout is neither None nor a non-negative number of seconds.
    """
    if seconds is not None and (not is_number(seconds) or seconds < 0):
        msg = "a timeout must be None or a number of seconds, not negative"
        raise ConfigurationError(msg)
