"""Timeouts, cancellations and closing: nothing more is sent, and the token resumes the release."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from support.release_worlds import ReleaseWorld, release
from support.virtual_time import now, virtual_time

from clanforge_async import (
    BearerTokenAuth,
    ClanforgeClient,
    ConfigurationError,
    JobWatcher,
    ReleaseError,
    ReleaseEvent,
    Releaser,
    ReleaseStep,
    ReleaseTimeoutError,
    ReleaseToken,
    WatchClosedError,
)


@virtual_time
async def test_the_timeout_spans_all_steps() -> None:
    """After ``timeout`` seconds, a release ends in its current step, and its token resumes it."""
    world = ReleaseWorld()
    async with world.client() as client, Releaser(client) as releaser:
        began = now()
        with pytest.raises(ReleaseTimeoutError, match="timed out after 15 s") as raised:
            await releaser.run(release(), timeout=15.0)
        assert now() - began == pytest.approx(15.0)
        assert isinstance(raised.value, TimeoutError)
        assert raised.value.step is ReleaseStep.UPDATE
        before = world.simulator.requests.count()
        await asyncio.sleep(100.0)
        assert world.simulator.requests.count() == before
        result = await releaser.run(release(), resume=raised.value.token, timeout=float("inf"))
    assert result.outcome == "released"
    assert max(world.calls().values()) == 1


@pytest.mark.parametrize(
    ("step", "seconds"), [(ReleaseStep.UPDATE, 3.0), (ReleaseStep.ROLLOUT, 4.0), (ReleaseStep.APPROVE, 5.0)]
)
@virtual_time
async def test_a_step_has_its_own_timeout(step: ReleaseStep, seconds: float) -> None:
    """A step that takes longer than its timeout ends the release; earlier steps do not count."""

    async def think(_diff: object) -> bool:
        await asyncio.sleep(6.0)
        return True

    async with ReleaseWorld().client() as client, Releaser(client) as releaser:
        with pytest.raises(ReleaseTimeoutError) as raised:
            await releaser.run(release(), approve=think, step_timeouts={step: seconds})
        assert raised.value.step is step


@virtual_time
async def test_a_cancelled_release_is_resumed_from_its_last_event() -> None:
    """A cancellation at any point is passed on and sends nothing; the last event's token resumes the release."""
    for moment in (0.5, 10.0, 27.0, 45.0, 70.0):
        world = ReleaseWorld()
        events = list[ReleaseEvent]()
        async with world.client() as client, Releaser(client, exclusive=True) as releaser:
            running = asyncio.ensure_future(releaser.run(release(), on_event=events.append))
            await asyncio.sleep(moment)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            result = await releaser.run(release(), resume=events[-1].token)
        assert result.outcome == "released"
        assert max(world.calls().values()) == 1


@virtual_time
async def test_closing_ends_the_releases_that_run() -> None:
    """When the releaser closes, running and waiting releases get a `ReleaseError`; later calls are refused."""
    world = ReleaseWorld()
    async with world.client() as client:
        async with Releaser(client) as releaser:
            running = asyncio.ensure_future(releaser.run_all([release(501), release(502)]))
            await asyncio.sleep(10.0)
        first, second = await running
        assert "the releaser was closed" in str(first.error)
        assert "the releaser was closed" in str(second.error)
        for call in (
            releaser.run(release()),
            releaser.check(release()),
            releaser.run_all([]),
            releaser.abort(first.token),
        ):
            with pytest.raises(ConfigurationError, match="the releaser is closed"):
                await call


@virtual_time
async def test_a_callback_may_close_the_releaser() -> None:
    """Closing in ``on_event`` ends the release at its next step; during its last event, it has no effect."""
    for kind, outcome in (("started", "failed"), ("finished", "released")):

        async def close(event: ReleaseEvent, kind: str = kind) -> None:
            if event.kind == kind:
                await releaser.aclose()

        async with ReleaseWorld().client() as client, Releaser(client) as releaser:
            (result,) = await releaser.run_all([release()], on_event=close)
        assert result.outcome == outcome


@virtual_time
async def test_a_closed_client_resolves_no_unknown_outcome() -> None:
    """If its client is closed, a token with an unknown outcome is unchanged."""
    world = ReleaseWorld()
    async with world.client() as client, Releaser(client) as releaser:
        await client.aclose()
        with pytest.raises(ConfigurationError, match="closed"):
            await releaser.run(release(), resume=f"{token()}update=~5")


@virtual_time
async def test_a_watcher_of_the_caller_stays_open() -> None:
    """A releaser closes only a watcher that it created; if its watch is closed, the release ends."""
    world = ReleaseWorld()
    async with world.client() as client, JobWatcher(client) as watcher:
        async with Releaser(client, watcher=watcher) as releaser:
            running = asyncio.ensure_future(releaser.run(release()))
            await asyncio.sleep(5.0)
            await watcher.aclose()
            with pytest.raises(ReleaseError) as raised:
                await running
        assert isinstance(raised.value.__cause__, WatchClosedError)


def token(**changes: Any) -> ReleaseToken:
    made = release(**changes)
    return ReleaseToken(image_id=made.image_id, machine_id=made.machine_id, plan=made.digest)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"resume": "release/1:"}, ConfigurationError, "not a release token"),
        ({"resume": 5}, TypeError, "read from text"),
        ({"resume": token(image_id=502)}, ConfigurationError, "of another release: image_id differ"),
        (
            {"resume": token(description="build 3", first_step="diff")},
            ConfigurationError,
            "description, first_step differ",
        ),
        ({"resume": token(source=None)}, ConfigurationError, "source differ"),
        ({"approve": "maybe"}, TypeError, "approve must be callable"),
        ({"on_event": 5}, TypeError, "on_event must be callable"),
        ({"unknown": "ignore"}, ConfigurationError, "unknown must be 'raise' or 'repeat'"),
        ({"timeout": -1.0}, ConfigurationError, "a timeout must be None or a number of seconds, not negative"),
        ({"timeout": "5"}, ConfigurationError, "a timeout must be None or a number of seconds, not negative"),
        (
            {"step_timeouts": {"update": -1.0}},
            ConfigurationError,
            "a timeout must be None or a number of seconds, not negative",
        ),
        ({"step_timeouts": {"lunch": 1.0}}, ConfigurationError, "unknown step: 'lunch'"),
    ],
)
@virtual_time
async def test_invalid_arguments_are_refused(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    """An invalid argument is refused before any request."""
    world = ReleaseWorld()
    async with world.client() as client, Releaser(client) as releaser:
        with pytest.raises(error, match=message):
            await releaser.run(release(), **arguments)
    assert world.simulator.requests.count() == 0


@pytest.mark.parametrize(
    "options",
    [
        {"lock_wait": -1.0},
        {"settle": "5"},
        {"job_retries": True},
        {"tolerate_failed": 1.5},
        {"tolerate_failed": -1},
        {"journal": 5},
    ],
)
@virtual_time
async def test_invalid_arguments_of_a_releaser_are_refused(options: dict[str, Any]) -> None:
    """An invalid argument of a releaser is a `ConfigurationError`."""
    async with ReleaseWorld().client() as client:
        with pytest.raises(ConfigurationError, match="|".join(options)):
            Releaser(client, **options)


@virtual_time
async def test_a_rollout_needs_the_account_service_id() -> None:
    """Without the account service id, a release with a rollout is refused before any call with a side effect."""
    world = ReleaseWorld()
    transport = httpx.ASGITransport(app=world.simulator.app)
    async with (
        ClanforgeClient(BearerTokenAuth("demo-token"), transport=transport, max_rate=None) as client,
        Releaser(client) as releaser,
    ):
        with pytest.raises(ConfigurationError, match="account"):
            await releaser.run(release())
        assert world.calls() == {}
        assert (await releaser.run(release(wait_for="version"))).outcome == "released"
