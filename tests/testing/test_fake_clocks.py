from __future__ import annotations

import subprocess
import sys

import pytest

IMPORTED_UNDER_A_FAKE_CLOCK = """
import datetime, pickle

real = datetime.datetime
{already_imported}

with {frozen}:
    from clanforge_async import JobKind, JobRef, JobWatcher, job_from_dict, job_to_dict
    from clanforge_async.simulator import Simulator
    from clanforge_async.testing import VirtualClock, image_diff_job, image_version_job, run

    async def read():
        simulator = Simulator(clock=clock)
        build = simulator.add_image_version(9012, states="running:600,completed")
        simulator.add_image_diff(5678, states="failed", retries=["running:600,completed"])
        async with simulator.client() as client, JobWatcher(client) as watcher:
            retried = await client.image_diffs.retry(5678)
            running = await client.image_versions.status(9012)
            return [running, await watcher.wait(build), retried, await watcher.wait(retried)]

    clock = VirtualClock()
    inside = run(read(), clock=clock)
    inside += [image_version_job(), image_diff_job(state="failed")]
    refs = [JobRef.image_diff(5678, datetime.datetime.now(datetime.UTC)), JobRef.parse("image-diff/5678@1763769600")]

outside = [job_from_dict(job.kind, job_to_dict(job)) for job in inside]
copies = pickle.loads(pickle.dumps(inside))
assert inside == outside == copies
assert [hash(job.ref) for job in inside] == [hash(job.ref) for job in copies]
assert all(isinstance(job.eta, real) for job in inside[:1])
refs += [job.ref for job in inside + copies] + pickle.loads(pickle.dumps(refs))
moments = [ref.newer_than for ref in refs]
moments += [t for job in inside + outside + copies for t in (job.created_at, job.updated_at, job.started_at, job.eta)]
types = {{type(moment) for moment in moments if moment is not None}}
assert types == {{real}}, types
"""
FREEZEGUN = "__import__('freezegun').freeze_time('2026-03-01')"
TIME_MACHINE = "__import__('time_machine').travel('2026-03-01', tick=False)"


@pytest.mark.parametrize("frozen", [FREEZEGUN, TIME_MACHINE], ids=["freezegun", "time-machine"])
@pytest.mark.parametrize(
    "already_imported",
    ["", "import clanforge_async", "import clanforge_async.testing, clanforge_async.simulator"],
    ids=["nothing", "the package", "everything"],
)
def test_times_are_real_datetimes_under_a_fake_clock(already_imported: str, frozen: str) -> None:
    """Jobs and references have plain datetimes, whichever modules are first imported while the clock is frozen."""
    code = IMPORTED_UNDER_A_FAKE_CLOCK.format(already_imported=already_imported, frozen=frozen)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)  # noqa: S603
    assert done.returncode == 0, done.stderr
