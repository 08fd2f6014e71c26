"""What a soak is told: both of its processes go by this."""

from __future__ import annotations

import json
from typing import Self

from attrs import asdict, frozen


@frozen(kw_only=True)
class Settings:
    """What a soak is told.

    Attributes:
        start: When it begins, in Unix seconds.
        seconds: How long it takes.
        watches: How many watches are under way at a time.
        fault_rate: How likely a request is to meet a fault.
        seed: What all chance is drawn from.
    """

    start: float
    seconds: float
    watches: int
    fault_rate: float
    seed: int

    @property
    def down_time(self) -> float:
        """Seconds for which nobody listens once the server was killed, beside those that a new one takes to start."""
        return min(self.seconds / 100, 3.0)

    def to_json(self) -> str:
        """Return it as a command line takes it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` returned."""
        return cls(**json.loads(text))
