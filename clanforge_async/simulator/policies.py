"""Rules that the API's documentation leaves open, or on which its pages contradict each other."""

from __future__ import annotations

import math
from typing import Literal

from attrs import field, frozen
from attrs.validators import ge, in_, lt


@frozen(kw_only=True)
class Policies:
    """A simulator's choice for each rule that the API's documentation leaves open.

    Attributes:
        lock_ends: Whether a diff's lock ends when a version is created from it, or when that version completes.
        omitted_install_at: Whether installs start at once if a version's ``install_at`` is omitted, or wait until each
            of them is queued.
        empty_diff: Whether a diff without differences needs ``full=1``, or gives a full version anyway.
        install_lag: Seconds from a version's completion to its installs, divided by the simulator's speed. Until then
            the rollout counts concern the previous version.
        lock_by_update: Whether an unfinished update locks its image. If not, a newer update of the same image on the
            same machine replaces it, and it ends as squashed.
    """

    lock_ends: Literal["created", "completed"] = field(default="created", validator=in_(("created", "completed")))
    omitted_install_at: Literal["now", "manual"] = field(default="now", validator=in_(("now", "manual")))
    empty_diff: Literal["refuse", "full"] = field(default="refuse", validator=in_(("refuse", "full")))
    install_lag: float = field(default=10.0, validator=[ge(0), lt(math.inf)])
    lock_by_update: bool = True
