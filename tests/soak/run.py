"""A soak from its beginning to its end."""

from __future__ import annotations

import asyncio
import gc
import resource
import time
import tracemalloc
from collections import Counter
from pathlib import Path

from attrs import define, field

from soak.complaints import listening
from soak.course import Course
from soak.endings import Ending
from soak.far_side import FarSide
from soak.figures import Figures
from soak.journal import Journal, breakdowns_in, retries_in
from soak.near_side import NearSide
from soak.samples import Sample, open_files, trend
from soak.schedule import STEADY, every_target
from soak.settings import Settings
from soak.slots import most_in_flight
from soak.truth import truth
from soak.verdict import Judge, Verdict

_TURNS = 20
"""Turns of the loop in which what was closed is gone."""


@define
class _Notes:
    """What is noted on the way, beside what goes into journals."""

    settings: Settings
    complaints: list[str] = field(factory=list[str])
    took: float = 0.0
    begun: int = 0
    lanes_left: int = 0
    unending: list[str] = field(factory=list[str])
    servers: int = 0
    files_idle: int = 0
    files_left: int = 0
    tasks_left: list[str] = field(factory=list[str])
    most_in_flight: int = 0
    cpu: tuple[float, float] = (0.0, 0.0)


async def soak(settings: Settings, near_side: NearSide, directory: Path) -> Figures:
    """Watch all lanes to their ends, and judge.

    Args:
        settings: What to do.
        near_side: Makes the client.
        directory: Where the journals go; empty.
    """
    with (
        Journal(directory / "endings.jsonl", Ending) as endings,
        Journal(directory / "samples.jsonl", Sample) as samples,
    ):
        with listening() as complaints:
            notes = await _go(settings, near_side, directory, endings, samples)
        notes.complaints += complaints
        verdict = await _judged(notes.settings, directory, endings)
        with breakdowns_in(directory) as breakdowns:
            kinds = Counter(breakdown.kind for breakdown in breakdowns)
        return _figures(notes, near_side, verdict, kinds, list(samples))


async def _go(
    settings: Settings, near_side: NearSide, directory: Path, endings: Journal[Ending], samples: Journal[Sample]
) -> _Notes:
    files_before, cpu_before = open_files(), _cpu()
    async with FarSide(directory, 1 + settings.kills) as far_side:
        notes = _Notes(settings.begun())
        await far_side.take_over(notes.settings)
        notes.files_idle = open_files()
        async with near_side.client(far_side.url, settings.timeout) as client:
            lookout = await Course(notes.settings, endings, samples).run(client, far_side)
            notes.begun, notes.lanes_left = lookout.begun, lookout.lanes
            notes.unending += sorted(map(str, lookout.under_way))
            notes.took = time.time() - notes.settings.start
            await far_side.kill()
            notes.cpu = _since(cpu_before)
            tracemalloc.stop()  # it has told what it had to, and what follows must not be late
            notes.most_in_flight = await most_in_flight(client, far_side.port)
        notes.servers = far_side.servers
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    gc.collect()  # what was forgotten says so now
    notes.files_left = open_files() - files_before
    notes.tasks_left += [repr(task) for task in asyncio.all_tasks() - {asyncio.current_task()}]
    return notes


async def _judged(settings: Settings, directory: Path, endings: Journal[Ending]) -> Verdict:
    with retries_in(directory) as retries, breakdowns_in(directory) as breakdowns:
        judge = Judge(await truth(settings, retries), settings.stale_after, retries, breakdowns)
    return judge.judge(every_target(settings), endings)


def _figures(
    notes: _Notes, near_side: NearSide, verdict: Verdict, kinds: Counter[str], samples: list[Sample]
) -> Figures:
    seconds = notes.settings.seconds
    steady = [sample for sample in samples if seconds / 2 <= sample.at < STEADY * seconds] or samples[-1:]
    return Figures(
        settings=notes.settings,
        took=notes.took,
        servers=notes.servers,
        begun=notes.begun,
        lanes_left=notes.lanes_left,
        unending=notes.unending,
        least_under_way=min(sample.under_way for sample in steady),
        breakdowns=kinds,
        verdict=verdict,
        resident=trend(steady, lambda sample: sample.resident),
        objects=trend(steady, lambda sample: sample.objects),
        traced=trend(steady, lambda sample: sample.traced),
        files=trend(steady, lambda sample: sample.files - notes.files_idle),
        max_concurrency=near_side.max_concurrency,
        most_in_flight=notes.most_in_flight,
        files_left=notes.files_left,
        tasks_left=notes.tasks_left,
        complaints=notes.complaints,
        cpu=notes.cpu,
    )


def _cpu() -> tuple[float, float]:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    near, far = (usage.ru_utime + usage.ru_stime for usage in usages)
    return near, far


def _since(before: tuple[float, float]) -> tuple[float, float]:
    near, far = _cpu()
    return near - before[0], far - before[1]
