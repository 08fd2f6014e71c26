"""Retry a failed image diff once, and wait until the new run has finished.

    python retry_and_wait.py 5003

Credentials come from the environment, see `ClanforgeClient.from_env`.
"""

import asyncio
import sys

from clanforge_async import ClanforgeClient, ImageLockedError, JobFailedError, JobWatcher, RetryOutcomeUnknownError


async def main(diff_id: int) -> int:
    async with ClanforgeClient.from_env() as client, JobWatcher(client, timeout=4 * 3600) as watcher:
        try:
            retried = await client.image_diffs.retry(diff_id)
        except RetryOutcomeUnknownError as error:
            print(f"{error}: read its status before you retry again")
            return 5
        except ImageLockedError as error:
            print(f"{error}: accept or reject that diff first")
            return 5
        print(f"to resume this watch elsewhere: clanforge watch {retried.ref}")
        try:
            await watcher.wait(retried)
        except JobFailedError as error:
            print(error)
            return 1
        print(f"{retried.ref} has completed")
        return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]))))
