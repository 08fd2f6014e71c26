"""Poll by a custom strategy, here for jobs that report no ETA but usually take a known time.

    python custom_strategy.py 10 image-version/9003    # usual duration in minutes, and the job

Credentials come from the environment, see `ClanforgeClient.from_env`. Any tenacity strategy works, and so does a sum,
such as `until_eta(max=30) + wait_random(0, 1)`.
"""

import asyncio
import sys
from datetime import UTC, datetime, timedelta

from tenacity import RetryCallState
from tenacity.wait import wait_base, wait_random

from clanforge_async import ClanforgeClient, Job, JobRef, JobWatcher


class AroundUsualEnd(wait_base):
    """Pauses for half the time until the usual end, or for half the time since then."""

    def __init__(self, usual: timedelta, nearest: float = 1.0, farthest: float = 60.0) -> None:
        self.usual = usual
        self.nearest = nearest
        self.farthest = farthest

    def __call__(self, retry_state: RetryCallState) -> float:
        """Return the seconds until the next poll, given the last one."""
        last = retry_state.outcome
        if last is None or last.failed:
            return self.farthest
        job: Job = last.result()
        if job.started_at is None:
            return self.farthest
        away = abs(job.started_at + self.usual - datetime.now(UTC))
        return min(max(away.total_seconds() / 2, self.nearest), self.farthest)


async def main(usual: timedelta, target: JobRef) -> None:
    # The random part spreads out watches that began together.
    interval = AroundUsualEnd(usual) + wait_random(0, 1)
    async with ClanforgeClient.from_env() as client, JobWatcher(client, interval=interval) as watcher:
        [result] = await watcher.wait_all([target])
    print(f"{target} ended after {result.polls} polls: {result.error or 'completed'}")


if __name__ == "__main__":
    asyncio.run(main(timedelta(minutes=float(sys.argv[1])), JobRef.parse(sys.argv[2])))
