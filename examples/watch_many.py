"""Wait for any number of jobs, and print each result as it arrives.

    python watch_many.py image-version/9002 image-version/9004

Credentials come from the environment, see `ClanforgeClient.from_env`.
"""

import asyncio
import sys

from clanforge_async import ClanforgeClient, Job, JobRef, JobWatcher


def show(job: Job) -> None:
    print(f"{job.kind}/{job.id}: {job.state_name}, {job.progress} %")


async def main(targets: list[JobRef]) -> int:
    failures = 0
    async with ClanforgeClient.from_env() as client, JobWatcher(client, timeout=4 * 3600) as watcher:
        async for result in watcher.as_completed(targets, on_update=show):
            failures += not result.ok
            how = result.error or "completed"
            print(f"{result.ref} ended after {result.elapsed:.0f} s and {result.polls} polls: {how}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main([JobRef.parse(text) for text in sys.argv[1:]])))
