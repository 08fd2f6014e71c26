"""Support for tests of your own code: virtual time, in which hours pass in milliseconds, and factories of jobs.

The package installs a pytest plugin with the fixtures ``clanforge_simulator``, ``clanforge_client`` and
``clanforge_clock``. ::

    async def test_a_failed_build_is_noticed(clanforge_simulator, clanforge_client):
        build = clanforge_simulator.add_image_version(9012, states="created,running:7200,failed")
        async with JobWatcher(clanforge_client) as watcher:
            with pytest.raises(JobFailedError):
                await watcher.wait(build)
"""

from clanforge_async.testing.clock import VirtualClock
from clanforge_async.testing.jobs import image_diff_job, image_version_job
from clanforge_async.testing.loops import VirtualTimeLoop, run, virtual_time

__all__ = ["VirtualClock", "VirtualTimeLoop", "image_diff_job", "image_version_job", "run", "virtual_time"]
