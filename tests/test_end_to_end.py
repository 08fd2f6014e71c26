"""The main job over real sockets: many jobs, a network that fails in every way, and the right end for each."""

from __future__ import annotations

import random

from clanforge_async import ClanforgeClient, JobFailedError, JobRef, JobSquashedError, JobState, JobWatcher, until_eta
from clanforge_async.simulator import (
    DEMO_ACCOUNT,
    Drop,
    Fault,
    GatewayError,
    Latency,
    Simulator,
    Stale,
    Truncate,
    Unreadable,
    serve,
)

ENDS = {"completed": JobState.COMPLETED, "failed": JobState.FAILED, "squashed": JobState.SQUASHED}
ERRORS = {"completed": type(None), "failed": JobFailedError, "squashed": JobSquashedError}


def break_everything(simulator: Simulator) -> None:
    """Have one request in twenty fail, each in one of the ways there are."""
    ways: list[Fault] = [
        Drop(),
        Drop(after_acting=True),
        Truncate(),
        Unreadable(),
        Unreadable(html=True),
        GatewayError(429),
        GatewayError(429, retry_after=0),
        GatewayError(500),
        GatewayError(502),
        GatewayError(503),
        GatewayError(503, retry_after=0, as_date=True),
        GatewayError(504, after_acting=True),
    ]
    for fault in ways:
        simulator.faults.add(fault, probability=0.05 / len(ways))
    simulator.faults.add(Latency(0.02), probability=0.05)
    simulator.faults.add(Stale(0.2), route="image-diff status")


async def test_two_hundred_watches_end_right_while_one_request_in_twenty_fails() -> None:
    """Every job ends with its own outcome, and with its true last run, whatever happens to the requests."""
    chance = random.Random(5)
    simulator = Simulator(speed=60, seed=5)
    outcomes: dict[JobRef, str] = {}
    for number in range(1, 161):
        outcome = chance.choice(["completed", "completed", "failed", "squashed"])
        add = simulator.add_image_version if number % 2 else simulator.add_image_diff
        ref = add(number, duration=chance.uniform(10, 90), queued_for=chance.uniform(0, 20), outcome=outcome)
        outcomes[ref] = outcome
    to_retry = [simulator.add_image_diff(number, duration=0.001, outcome="failed") for number in range(1000, 1040)]
    outcomes |= dict.fromkeys(to_retry, "completed")
    async with (
        serve(simulator) as base_url,
        ClanforgeClient(
            (DEMO_ACCOUNT.access_key, DEMO_ACCOUNT.secret_key),
            account_service_id=DEMO_ACCOUNT.account_service_id,
            base_url=base_url,
            max_rate=None,
            timeout=5,
        ) as client,
        JobWatcher(client, interval=until_eta(min=0.05, max=0.3), timeout=40) as watcher,
    ):
        for ref in to_retry:
            await watcher.wait(ref, check=False)
        retried = [await client.image_diffs.retry(ref.id) for ref in to_retry]
        running = [ref for ref in outcomes if ref not in to_retry]
        break_everything(simulator)
        results = await watcher.wait_all([*running, *retried])

    assert sum(request.status is None or request.status >= 429 for request in simulator.requests) > 20
    assert len(results) == len(outcomes) == 200
    for result in results:
        outcome = outcomes[JobRef(result.ref.kind, result.ref.id)]
        assert type(result.error) is ERRORS[outcome], result
        assert result.job is not None
        assert result.job.state is ENDS[outcome]
        assert int(simulator.ended_at(JobRef(result.ref.kind, result.ref.id))) <= result.job.updated_at.timestamp() + 1
    assert all(simulator.retries_of(ref) == 1 for ref in to_retry)
