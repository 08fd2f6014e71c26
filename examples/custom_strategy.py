"""Poll by a strategy of one's own, here for jobs that foretell nothing but usually take a known time.

    python custom_strategy.py 10 image-version/9003    # minutes, and what to wait for

Credentials come from the environment, as `ClanforgeClient.from_env` says. Any of tenacity's strategies will do, alone
or added up, such as `until_eta(max=30) + wait_random(0, 1)`.
"""

import asyncio
import sys
from datetime import UTC, datetime, timedelta

from tenacity import RetryCallState
from tenacity.wait import wait_base, wait_random

from clanforge_async import ClanforgeClient, Job, JobRef, JobWatcher


class AroundUsualEnd(wait_base):
    """Polls after half the time that is left until jobs usually end, or by which one is late."""

    def __init__(self, usual: timedelta, nearest: float = 1.0, farthest: float = 60.0) -> None:
        self.usual = usual
        self.nearest = nearest
        self.farthest = farthest

    def __call__(self, retry_state: RetryCallState) -> float:
        """Return the seconds to wait before the next poll, by what the last one has brought."""
        last = retry_state.outcome
        if last is None or last.failed:
            return self.farthest
        job: Job = last.result()
        if job.started_at is None:
            return self.farthest
        away = abs(job.started_at + self.usual - datetime.now(UTC))
        return min(max(away.total_seconds() / 2, self.nearest), self.farthest)


async def main(usual: timedelta, target: JobRef) -> None:
    # The chance keeps watches that began together from polling together.
    interval = AroundUsualEnd(usual) + wait_random(0, 1)
    async with ClanforgeClient.from_env() as client, JobWatcher(client, interval=interval) as watcher:
        [result] = await watcher.wait_all([target])
    print(f"{target} ended after {result.polls} polls: {result.error or 'completed'}")


if __name__ == "__main__":
    asyncio.run(main(timedelta(minutes=float(sys.argv[1])), JobRef.parse(sys.argv[2])))
