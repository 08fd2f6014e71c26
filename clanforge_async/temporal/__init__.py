"""Watches on Temporal: they survive deploys and crashes, and several services share one rate limit.

Needs the extra ``temporal``. A worker polls for any number of programs::

    await Worker(temporal, task_queue="clanforge", plugins=[ClanforgePlugin(client)]).run()

A program starts watches and waits for them, or finds them later by their id::

    job = await TemporalWatcher(temporal).wait(ref, id="release-42")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clanforge_async.temporal.plugin import ClanforgePlugin
    from clanforge_async.temporal.rate_limit import set_max_rate
    from clanforge_async.temporal.watcher import TemporalWatcher
else:
    # Loaded on first use, so that Temporal's sandbox can import the workflows without httpx.
    _HOMES = {"ClanforgePlugin": "plugin", "TemporalWatcher": "watcher", "set_max_rate": "rate_limit"}

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


__all__ = ["ClanforgePlugin", "TemporalWatcher", "set_max_rate"]
