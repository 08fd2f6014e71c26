"""The account's list of installs, shared by all releases that wait for a rollout."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence

from clanforge_async._watching.results import copy_error
from clanforge_async.errors import ClanforgeError
from clanforge_async.images import ImageInstall
from clanforge_async.releases.state import SHORTEST_PAUSE

Installs = Sequence[ImageInstall]


class SharedInstalls:
    """Reads the list of installs at most once in `SHORTEST_PAUSE` seconds, and shares it between all releases.

    A list that is a few seconds old is good enough: the wait for a rollout ends only after its beginning was seen and
    when the counts of machines, which each release reads itself, show none pending.

    Args:
        read: Function that reads the list.
    """

    def __init__(self, read: Callable[[], Awaitable[Installs]]) -> None:
        self._read = read
        self._lock = asyncio.Lock()
        self._read_at = -math.inf
        self._result: Installs | ClanforgeError = ()

    async def read(self) -> Installs:
        """Return the incomplete installs of the account.

        Raises:
            ClanforgeError: The shared read failed.
        """
        async with self._lock:
            await self._refresh()
        if isinstance(self._result, ClanforgeError):
            raise copy_error(self._result)
        return self._result

    async def _refresh(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._read_at < SHORTEST_PAUSE:
            return
        try:
            self._result = await self._read()
        except ClanforgeError as error:
            self._result = error
        self._read_at = now
