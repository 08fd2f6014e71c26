"""The plugin that makes a Temporal worker poll."""

from __future__ import annotations

from temporalio.plugin import SimplePlugin

from clanforge_async._polling.strategy import Interval, until_eta
from clanforge_async._watching.state import WatchPolicy
from clanforge_async.client import ClanforgeClient
from clanforge_async.temporal.activities import Activities
from clanforge_async.temporal.workflows import BrakeWorkflow, WatchWorkflow

_UNTIL_ETA = until_eta()


class ClanforgePlugin(SimplePlugin):
    """Makes a Temporal worker poll for watches. Any number of workers can serve the same task queue.

    Args:
        client: The client that polls, within its own limits. It is not closed.
        interval: Seconds between polls, or any tenacity wait strategy.
        outage_tolerance: Seconds for which all polls may fail before a watch gives up with the last error.
        stale_after: Seconds without a status newer than the reference's ``newer_than`` before a watch gives up.

    Raises:
        ConfigurationError: An argument is invalid.
    """

    def __init__(
        self,
        client: ClanforgeClient,
        *,
        interval: Interval = _UNTIL_ETA,
        outage_tolerance: float = 300.0,
        stale_after: float = 120.0,
    ) -> None:
        policy = WatchPolicy(interval=interval, outage_tolerance=outage_tolerance, stale_after=stale_after)
        activities = Activities(client, policy)
        super().__init__(  # pyright: ignore[reportUnknownMemberType] - temporalio omits type arguments
            "clanforge",
            activities=[activities.poll, activities.set_brake],
            workflows=[WatchWorkflow, BrakeWorkflow],
        )
