"""What a soak is told: both of its processes go by this."""

from __future__ import annotations

import json
import time
from typing import Self

from attrs import asdict, evolve, frozen


@frozen(kw_only=True)
class Settings:
    """What a soak is told.

    Attributes:
        seconds: How long it takes.
        watches: How many watches are under way at a time.
        fault_rate: How likely a request is to meet a fault.
        kills: How often the server is killed, and another one started.
        seed: What all chance is drawn from.
        start: When it begins, in Unix seconds; 0: it has not begun.
    """

    seconds: float
    watches: int
    fault_rate: float
    kills: int
    seed: int
    start: float = 0.0

    @property
    def down_time(self) -> float:
        """Seconds for which nobody listens once the server was killed, before its successor makes ready to."""
        return min(self.seconds / 20, 3.0)

    @property
    def timeout(self) -> float:
        """Seconds that the client gives a request."""
        return min(max(self.seconds / 20, 0.3), 2.0)

    @property
    def stale_for(self) -> float:
        """Seconds for which every retried diff goes on to show the run before."""
        return self.timeout

    @property
    def stale_after(self) -> float:
        """Seconds without news of a retry after which a watch gives up: later than any news can come."""
        return 4 * self.timeout

    @property
    def pauses(self) -> tuple[float, float]:
        """Seconds between two polls, at the least and at the most: the package's own if there is time for them."""
        return min(self.seconds / 20, 1.0), min(self.seconds / 5, 60.0)

    def begun(self) -> Self:
        """Return the same with a start as soon as a server can have all its jobs."""
        return evolve(self, start=time.time() + self.watches / 1000)

    def to_json(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` returned."""
        return cls(**json.loads(text))
