"""One rate limit for all workers and watches, and the brake after a 429."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from itertools import pairwise

import httpx
import pytest
from support.loopback_server import LoopbackServer, http_answer
from support.scripted_server import Answer, ScriptedServer, wire
from support.temporal.dev_server import DevServer
from support.temporal.faulty_client import Faults
from support.temporal.worker_process import worker_process
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from clanforge_async import ConfigurationError, JobRef, JobState
from clanforge_async.temporal import ClanforgePlugin, TemporalWatcher, rate_limit, set_max_rate
from clanforge_async.temporal.rate_limit import _read, brake_id, hold_queue, release_queue
from clanforge_async.temporal.workflows import BRAKE

RETRY_AFTER = 5.0


async def test_one_budget_holds_over_all_submitters(server: DevServer, temporal: Client, queue: str) -> None:
    """The watches of two watchers on two workers poll no faster than the queue's rate; None removes the limit."""
    api, asked = ScriptedServer(), list[float]()
    refs = [JobRef.image_version(number) for number in range(1, 46)]

    def answer(ref: JobRef) -> Answer:
        asked.append(time.monotonic())
        return wire(ref.id, JobState.COMPLETED)

    for ref in refs:
        api.on("imageversion/status", ref.id, partial(answer, ref))
    await set_max_rate(temporal, 10.0, task_queue=queue)
    async with (
        api.client() as one,
        api.client() as two,
        Worker(temporal, task_queue=queue, plugins=[ClanforgePlugin(one)]),
        Worker(await server.connect(), task_queue=queue, plugins=[ClanforgePlugin(two)]),
    ):
        submitters = [TemporalWatcher(temporal, task_queue=queue) for _ in range(2)]
        await asyncio.gather(submitters[0].wait_all(refs[:20]), submitters[1].wait_all(refs[20:]))
        assert len(asked) == 45
        assert 45 / (asked[-1] - asked[0]) < 10.0 * 1.5  # with the burst of the server's partitions
        await set_max_rate(temporal, None, task_queue=queue)
        assert (await _read(temporal, queue))[0] is None


async def test_a_429_brakes_all_workers_and_outlives_its_worker(
    server: DevServer, temporal: Client, queue: str
) -> None:
    """After a 429 no worker polls until ``Retry-After`` has passed, even if the worker that got it is killed."""
    asked: list[float] = []
    braked = asyncio.Event()

    def answer(head: str) -> bytes:
        asked.append(time.monotonic())
        if len(asked) == 1:
            braked.set()
            return http_answer(b"slow down", "429 Too Many Requests", Retry_After=str(int(RETRY_AFTER)))
        return http_answer(wire(1, JobState.COMPLETED) | {"imageversionid": int(head.split("/")[4])})

    await set_max_rate(temporal, 50.0, task_queue=queue)
    async with LoopbackServer(answer) as api:
        watcher = TemporalWatcher(temporal, task_queue=queue)
        async with worker_process(server.address, queue, api.url, interval=0.5) as first:
            waiting = asyncio.create_task(watcher.wait(JobRef.image_version(1)))
            async with asyncio.timeout(30):
                await braked.wait()
                while (await _read(temporal, queue))[0] != 0.0:  # noqa: ASYNC110 - the server has no event for it
                    await asyncio.sleep(0.05)
            async with worker_process(server.address, queue, api.url, interval=0.5):
                await first.kill()
                results = await watcher.wait_all([JobRef.image_version(number) for number in range(2, 6)])
                assert all(result.ok for result in results)
                assert (await waiting).is_completed
    assert asked[1] - asked[0] >= RETRY_AFTER
    assert len(asked) == 6
    assert (await _read(temporal, queue))[0] == 50.0


async def test_a_budget_that_is_set_during_a_brake_holds_after_it(temporal: Client, queue: str) -> None:
    """A budget that is set during a brake takes effect at its end; a second brake does not change the budget."""
    braking = await temporal.start_workflow(BRAKE, id=brake_id(queue), task_queue=queue)
    await hold_queue(temporal, queue)
    await set_max_rate(temporal, 7.0, task_queue=queue)
    assert (await _read(temporal, queue))[0] == 0.0
    await hold_queue(temporal, queue)
    await release_queue(temporal, queue)
    assert (await _read(temporal, queue))[0] == 7.0
    await release_queue(temporal, queue)
    assert (await _read(temporal, queue))[0] == 7.0
    await set_max_rate(temporal, None, task_queue=queue)
    await hold_queue(temporal, queue)
    await release_queue(temporal, queue)
    assert (await _read(temporal, queue))[0] is None
    await hold_queue(temporal, queue)
    await braking.terminate()
    await set_max_rate(temporal, 5.0, task_queue=queue)
    assert (await _read(temporal, queue))[0] == 5.0


async def test_a_brake_that_never_ran_is_lifted_by_the_next_budget(temporal: Client, queue: str) -> None:
    """If no workflow will end a rate of 0, the next budget replaces it; other faults are raised."""
    await hold_queue(temporal, queue)
    await set_max_rate(temporal, 5.0, task_queue=queue)
    assert (await _read(temporal, queue))[0] == 5.0
    await hold_queue(temporal, queue)
    faults = Faults()
    faults.descriptions = [RPCStatusCode.PERMISSION_DENIED]
    with pytest.raises(RPCError, match="a fault"):
        await set_max_rate(faults.client_of(temporal), 5.0, task_queue=queue)


@pytest.mark.parametrize("stale", [2, 1000])
async def test_a_change_is_waited_for(
    temporal: Client, queue: str, monkeypatch: pytest.MonkeyPatch, stale: int
) -> None:
    """A busy server may show the old rate at first: a change ends when the new rate is shown, or after some reads."""
    reads = list[int]()

    async def read(temporal: Client, queue: str) -> tuple[float | None, str]:
        reads.append(len(reads))
        return (None, "") if len(reads) <= stale else await _read(temporal, queue)

    monkeypatch.setattr(rate_limit, "_read", read)
    monkeypatch.setattr(rate_limit, "_PAUSE_AFTER_WRITE", 0.0)
    await set_max_rate(temporal, 0.1, task_queue=queue)
    assert len(reads) == min(stale + 1, 41)
    assert (await _read(temporal, queue))[0] == pytest.approx(0.1)


@pytest.mark.parametrize("rate", [0, -1.0, float("inf"), float("nan"), "20", True])
async def test_an_unusable_rate_is_refused(temporal: Client, rate: float) -> None:
    """A rate that is not a positive number is refused."""
    with pytest.raises(ConfigurationError, match="rate"):
        await set_max_rate(temporal, rate)


async def test_a_throttled_worker_asks_for_a_longer_brake(temporal: Client, queue: str) -> None:
    """A second 429 during a brake makes it longer, and no poll is lost."""
    api, asked = ScriptedServer(), list[float]()
    answers = [httpx.Response(429, headers={"Retry-After": "1"}), httpx.Response(429, headers={"Retry-After": "2"})]

    def answer() -> Answer:
        asked.append(time.monotonic())
        return answers.pop(0) if answers else wire(1, JobState.COMPLETED)

    api.on("imageversion/status", 1, answer)
    async with api.client() as client, Worker(temporal, task_queue=queue, plugins=[ClanforgePlugin(client)]):
        assert (await TemporalWatcher(temporal, task_queue=queue).wait(JobRef.image_version(1))).is_completed
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert pauses[0] >= 1
    assert pauses[1] >= 2
