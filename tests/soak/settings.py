"""Settings of a soak run, shared by the client's and the server's process."""

from __future__ import annotations

import json
import time
from typing import Self

from attrs import asdict, evolve, frozen


@frozen(kw_only=True)
class Settings:
    """Settings of a soak run.

    Attributes:
        seconds: Duration of the run.
        watches: Number of concurrent watches.
        fault_rate: Probability that a request meets a fault.
        kills: Number of times that the server is killed and replaced.
        seed: Seed of all random numbers.
        start: Unix time of the start in seconds; 0 before the run has started.
    """

    seconds: float
    watches: int
    fault_rate: float
    kills: int
    seed: int
    start: float = 0.0

    @property
    def downtime(self) -> float:
        """Seconds between the kill of a server and the start of the next one."""
        return min(self.seconds / 20, 3.0)

    @property
    def timeout(self) -> float:
        """The client's request timeout, in seconds."""
        return min(max(self.seconds / 20, 0.3), 2.0)

    @property
    def stale_for(self) -> float:
        """Seconds for which the status of a retried diff still shows the previous run."""
        return self.timeout

    @property
    def stale_after(self) -> float:
        """The watcher's `stale_after`, in seconds: longer than the new run can take to show."""
        return 4 * self.timeout

    @property
    def poll_interval(self) -> tuple[float, float]:
        """Shortest and longest poll interval in seconds: the package's defaults if the run is long enough."""
        return min(self.seconds / 20, 1.0), min(self.seconds / 5, 60.0)

    def with_start(self) -> Self:
        """Return a copy with a start late enough for a server to have created all jobs."""
        return evolve(self, start=time.time() + self.watches / 1000)

    def to_json(self) -> str:
        """Serialize to one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse the output of `to_json`."""
        return cls(**json.loads(text))
