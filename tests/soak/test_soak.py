"""The soak, in small: that it ends well, and that it would tell if it did not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from support.loopback_server import nobody_listens

from clanforge_async import JobState
from soak.endings import Ending
from soak.journal import Breakdown, Retry
from soak.near_side import NearSide
from soak.run import soak
from soak.samples import Sample, trend
from soak.schedule import Target, every_target
from soak.settings import Settings
from soak.slots import most_in_flight
from soak.truth import truth
from soak.verdict import Judge

SETTINGS = Settings(seconds=30, watches=20, fault_rate=0.1, kills=0, seed=4, start=1_763_769_600.75)
STALE_AFTER = 8.0


async def test_a_small_soak_ends_well(tmp_path: Path) -> None:
    """In seconds as in minutes: every watch ends right while requests fail and the server is killed."""
    settings = Settings(seconds=1.5, watches=20, fault_rate=0.2, kills=1, seed=4)
    figures = await soak(settings, NearSide(max_rate=200.0, max_concurrency=5, transport="default"), tmp_path)
    assert figures.wrong == []
    assert figures.servers == 2
    assert figures.breakdowns.total() > 0
    assert len(figures.verdict.seen) >= settings.watches


def target_that(*, is_retried: bool) -> Target:
    return next(target for target in every_target(SETTINGS) if target.is_retried is is_retried)


def good_ending(target: Target, ended_at: float) -> Ending:
    errors = {"completed": "", "failed": "JobFailedError", "squashed": "JobSquashedError"}
    return Ending(
        ref=str(target.ref),
        began=ended_at - 5,
        at=ended_at + 1,
        state=JobState[target.outcome.upper()],
        updated_at=float(int(ended_at)),
        error=errors[target.outcome],
        status=None,
        polls=3,
        ends_told=1,
        has_told_last=True,
        retries=int(target.is_retried),
    )


async def judged(
    target: Target, *changes: dict[str, Any], breakdowns: tuple[Breakdown, ...] = (), retried_at: tuple[float, ...] = ()
) -> list[str]:
    """Return what is found wrong with endings that differ so from a good one."""
    retries = [Retry(diff_id=target.ref.id, at=at) for at in retried_at]
    simulator = await truth(SETTINGS, retries)
    good = good_ending(target, simulator.ended_at(target.ref))
    judge = Judge(simulator, STALE_AFTER, retries, breakdowns)
    return judge.judge([target], [evolve(good, **each) for each in changes]).wrong


async def test_a_right_end_is_not_complained_of() -> None:
    """The job's own outcome, told once and after its end, is what every watch is to bring."""
    assert await judged(target_that(is_retried=False), {}) == []
    assert await judged(target_that(is_retried=True), {}, retried_at=(SETTINGS.start + 1,)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"state": None},
        {"state": JobState.RUNNING},
        {"error": "StaleJobError"},
        {"error": "TransportError"},
        {"error": "APIError", "status": 200},
        {"updated_at": None},
        {"updated_at": 0.0},
        {"at": 0.0},
        {"ends_told": 0},
        {"ends_told": 2},
        {"has_told_last": False},
    ],
    ids=str,
)
async def test_a_wrong_end_is_found(change: dict[str, Any]) -> None:
    """Another outcome, another run, too early an end, one that was told twice or for no reason."""
    retried = target_that(is_retried=True)
    assert await judged(retried, change, retried_at=(SETTINGS.start + 1,))


async def test_a_second_end_is_found() -> None:
    """A watch ends once."""
    assert await judged(target_that(is_retried=False), {}, {})


async def test_a_refusal_ends_a_watch_only_if_there_was_one() -> None:
    """A watch that a refusal has ended begins again, and another such end needs another refusal."""
    target = target_that(is_retried=False)
    path = f"/cfp/v1/{target.ref.kind.replace('-', '')}/{target.ref.id}/status"
    refused = {"error": "NotFoundError", "status": 404, "ends_told": 0}
    refusal = Breakdown(kind="404", path=path)
    assert await judged(target, refused, {}, breakdowns=(refusal,)) == []
    assert await judged(target, refused, breakdowns=(refusal,)), "its end was never seen"
    assert await judged(target, refused, refused, {}, breakdowns=(refusal,))


@pytest.mark.parametrize("retried_at", [(), (SETTINGS.start + 1, SETTINGS.start + 50)], ids=["never", "twice"])
async def test_a_retry_is_carried_out_once(retried_at: tuple[float, ...]) -> None:
    """A diff is retried as often as it was asked for, at the most, and once at the least."""
    assert await judged(target_that(is_retried=True), {}, retried_at=retried_at)


@pytest.mark.parametrize("is_lost", [False, True])
async def test_a_lost_slot_is_found(is_lost: bool) -> None:
    """As many requests as may be are in flight together, unless there is a slot that nobody has given back."""
    with nobody_listens() as url:
        port = int(url.rpartition(":")[2])
    async with NearSide(max_rate=200.0, max_concurrency=3, transport="default").client(url, timeout=0.1) as client:
        if is_lost:
            await client._session._limiter._slots.acquire()
        assert (await most_in_flight(client, port) == 3) is not is_lost


def test_growth_is_measured_along_a_line() -> None:
    """What only goes up and down has not grown; what rises does so by a part of its mean."""
    samples = [Sample(at=float(at), under_way=100 + at % 2, resident=1000 + at, traced=0, files=0) for at in range(101)]
    assert abs(trend(samples, lambda sample: sample.under_way).growth) < 1e-3
    resident = trend(samples, lambda sample: sample.resident)
    assert resident.growth == pytest.approx(100 / 1050)
    assert resident.per_minute == pytest.approx(60)
    assert trend(samples, lambda sample: sample.files).growth == 0.0
