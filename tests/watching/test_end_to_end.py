"""Many watches over real sockets while requests fail in every way: each gets the right result."""

from __future__ import annotations

import random

from clanforge_async import ClanforgeClient, JobFailedError, JobRef, JobSquashedError, JobState, JobWatcher
from clanforge_async.simulator import (
    DEMO_ACCOUNT,
    Drop,
    Fault,
    GatewayError,
    Latency,
    Outcome,
    Simulator,
    Stale,
    Truncate,
    Unreadable,
    serve,
)

OUTCOMES: list[Outcome] = ["completed", "completed", "failed", "squashed"]
ENDS = {"completed": JobState.COMPLETED, "failed": JobState.FAILED, "squashed": JobState.SQUASHED}
ERRORS = {"completed": type(None), "failed": JobFailedError, "squashed": JobSquashedError}


def add_faults(simulator: Simulator) -> None:
    """Make about one request in twenty fail, several times in each possible way."""
    ways: list[Fault] = [
        Drop(),
        Drop(after_acting=True),
        Truncate(),
        Unreadable(),
        Unreadable(html=True),
        GatewayError(429, retry_after=0),
        GatewayError(500),
        GatewayError(502),
        GatewayError(503),
        GatewayError(503, retry_after=0, as_date=True),
        GatewayError(504, after_acting=True),
    ]
    for fault in ways:
        simulator.faults.add(fault, probability=0.03, times=3)
    simulator.faults.add(GatewayError(429), probability=0.03, times=1)  # it pauses the whole client for a second
    simulator.faults.add(Latency(0.02), probability=0.05)
    simulator.faults.add(Stale(0.2), route="image-diff status")


def add_running_jobs(simulator: Simulator, count: int) -> dict[JobRef, Outcome]:
    """Add jobs that run for two to seven seconds, and return the outcome of each."""
    rng = random.Random(5)
    outcomes: dict[JobRef, Outcome] = {}
    for number in range(1, count + 1):
        add = simulator.add_image_version if number % 2 else simulator.add_image_diff
        outcome = rng.choice(OUTCOMES)
        ref = add(number, duration=rng.uniform(30, 90), queued_for=rng.uniform(0, 40), outcome=outcome)
        outcomes[ref] = outcome
    return outcomes


async def test_two_hundred_watches_end_correctly_despite_faults() -> None:
    """Every watch ends with its job's own outcome and last run, although one request in twenty fails."""
    simulator = Simulator(speed=30, seed=5, quirks=True)
    to_retry = [simulator.add_image_diff(number, duration=0.001, outcome="failed") for number in range(1000, 1040)]
    async with (
        serve(simulator) as base_url,
        ClanforgeClient(
            (DEMO_ACCOUNT.access_key, DEMO_ACCOUNT.secret_key),
            account_service_id=DEMO_ACCOUNT.account_service_id,
            base_url=base_url,
            max_rate=None,
            timeout=5,
        ) as client,
        JobWatcher(client, interval=0.15, timeout=40) as watcher,
    ):
        retried = [await client.image_diffs.retry(ref.id) for ref in to_retry]
        outcomes = add_running_jobs(simulator, 160)
        add_faults(simulator)
        results = await watcher.wait_all([*outcomes, *retried])

    failed = [request for request in simulator.requests if request.status is None or request.status >= 429]
    assert len(failed) > 20
    assert {request.status for request in failed} >= {None, 429, 500, 502, 503, 504}
    assert len(results) == 200
    outcomes |= dict.fromkeys(to_retry, "completed")
    for result in results:
        job = JobRef(result.ref.kind, result.ref.id)
        assert type(result.error) is ERRORS[outcomes[job]], result
        assert result.job is not None
        assert result.job.state is ENDS[outcomes[job]]
        assert abs(result.job.updated_at.timestamp() - simulator.ended_at(job)) <= 1
    assert all(simulator.retries_of(ref) == 1 for ref in to_retry)
