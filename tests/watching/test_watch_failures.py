"""Failed polls as a watch reports them: ``on_error``, ``last_error``, and a separate error for each watch."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import httpx
import pytest
from support.scripted_server import START, Answer, ScriptedServer, wire
from support.virtual_time import now, virtual_time

from clanforge_async import (
    ClanforgeError,
    Job,
    JobFailedError,
    JobRef,
    JobState,
    JobWatcher,
    NotFoundError,
    ServerError,
    StaleJobError,
    TransportError,
    WatchClosedError,
    WatchTimeoutError,
)
from clanforge_async._watching.results import copy_error

REF = JobRef.image_diff(5, newer_than=datetime.fromtimestamp(START - 10, UTC))
PLAIN = JobRef.image_diff(5)
RUNNING, COMPLETED, FAILED = wire(5), wire(5, JobState.COMPLETED), wire(5, JobState.FAILED, joberror="no space")
STALE = wire(5, JobState.FAILED, jobupdated=START - 20)


def server_of(*answers: Answer) -> ScriptedServer:
    server = ScriptedServer()
    server.diff(5, *answers)
    return server


class CallbackCall(NamedTuple):
    """A call of ``on_error`` or ``on_update``."""

    at: float
    ref: JobRef
    what: type[Exception] | JobState | None


class Listener:
    """Callbacks that record their calls; each takes some time if requested."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.told: list[CallbackCall] = []
        self.seconds = seconds

    def on_error(self, ref: JobRef, error: ClanforgeError) -> Awaitable[None] | None:
        return self._record(CallbackCall(now(), ref, type(error)))

    def on_update(self, job: Job) -> Awaitable[None] | None:
        return self._record(CallbackCall(now(), job.ref, job.state))

    def _record(self, told: CallbackCall) -> Awaitable[None] | None:
        self.told.append(told)
        return asyncio.sleep(self.seconds) if self.seconds else None


OUTAGE: list[Answer] = [
    httpx.Response(500),
    RUNNING,
    httpx.ReadError("reset"),
    httpx.Response(429),
    httpx.Response(200, text="<html>"),
    COMPLETED,
]


@pytest.mark.parametrize("use", ["wait", "wait_all", "as_completed"])
def test_on_error_gets_every_failure_that_does_not_end_the_watch(use: str) -> None:
    """`wait`, `wait_all` and `as_completed` call it with the requested reference, in order with ``on_update``."""

    @virtual_time
    async def run() -> None:
        listener, watcher = Listener(), JobWatcher(server_of(*OUTAGE).client(), interval=10)
        if use == "wait":
            await watcher.wait(REF, on_error=listener.on_error, on_update=listener.on_update)
        elif use == "wait_all":
            await watcher.wait_all([REF], on_error=listener.on_error, on_update=listener.on_update)
        else:
            ended = watcher.as_completed([REF], on_error=listener.on_error, on_update=listener.on_update)
            assert [result.ok async for result in ended] == [True]
        assert [(told.at, getattr(told.what, "__name__", told.what)) for told in listener.told] == [
            (0, "ServerError"),
            (1, JobState.RUNNING),
            (11, "TransportError"),
            (12, "RateLimitError"),
            (14, "InvalidResponseError"),
            (18, JobState.COMPLETED),
        ]
        assert {told.ref for told in listener.told} == {REF}

    run()


@virtual_time
async def test_callbacks_run_one_at_a_time() -> None:
    """An async ``on_error`` delays the ``on_update`` after it; the watch ends after the last call."""
    listener = Listener(seconds=10)
    watcher = JobWatcher(server_of(httpx.Response(500), RUNNING, COMPLETED).client(), interval=1)
    await watcher.wait(PLAIN, on_error=listener.on_error, on_update=listener.on_update)
    assert [told.at for told in listener.told] == [0, 10, 20]
    assert now() == 30


@pytest.mark.parametrize("asynchronous", [False, True])
def test_on_error_that_raises_is_logged(asynchronous: bool, caplog: pytest.LogCaptureFixture) -> None:
    """The watch continues, and the log record names the callback."""

    def fail(*_: object) -> None:
        raise LookupError

    async def fail_later(*_: object) -> None:
        await asyncio.sleep(0)
        raise LookupError

    @virtual_time
    async def run() -> None:
        watcher = JobWatcher(server_of(httpx.Response(500), httpx.Response(500), COMPLETED).client())
        assert (await watcher.wait(PLAIN, on_error=fail_later if asynchronous else fail)).is_completed
        messages = [record.message for record in caplog.records if record.levelname == "ERROR"]
        assert messages == ["on_error failed for image-diff/5"] * 2

    run()


@pytest.mark.parametrize("answers", [[httpx.Response(404)], [STALE], [FAILED]], ids=["refused", "stale", "failed"])
@virtual_time
async def test_on_error_is_not_called_for_the_end(answers: list[Answer]) -> None:
    """It is not called for a failure that ends the watch, a stale status or a failed job."""
    listener = Listener()
    watcher = JobWatcher(server_of(*answers).client(), stale_after=10)
    [result] = await watcher.wait_all([REF], on_error=listener.on_error)
    assert (listener.told, result.ok) == ([], False)


async def start(watcher: JobWatcher, use: str, callbacks: dict[str, Any]) -> None:
    if use == "wait":
        await watcher.wait(PLAIN, **callbacks)
    elif use == "wait_all":
        await watcher.wait_all([PLAIN], **callbacks)
    else:
        await anext(watcher.as_completed([PLAIN], **callbacks))


@pytest.mark.parametrize("name", ["on_update", "on_error"])
@pytest.mark.parametrize("value", ["notify", 5, [print]])
@pytest.mark.parametrize("use", ["wait", "wait_all", "as_completed"])
def test_a_callback_that_is_not_callable(name: str, value: object, use: str) -> None:
    """A callback that is not callable, or is a coroutine object, is a `TypeError` before any watch starts."""

    @virtual_time
    async def run() -> None:
        server = server_of(COMPLETED)
        watcher = JobWatcher(server.client())
        coroutine = asyncio.sleep(0)
        for callback in (value, coroutine):
            with pytest.raises(TypeError, match=f"{name} must be callable, not "):
                await start(watcher, use, {name: callback})
        coroutine.close()
        assert not server.requests

    run()


@virtual_time
async def test_every_snapshot_carries_the_reference() -> None:
    """Every snapshot from a watch has the requested reference, for each of two watches its own."""
    server = server_of(RUNNING, wire(5, jobprogress=60), FAILED)
    watcher = JobWatcher(server.client(), interval=10)
    seen: list[JobRef] = []

    async def iterate() -> None:
        seen.extend([job.ref async for job in watcher.updates(REF)])

    iterating = asyncio.create_task(iterate())
    plain = asyncio.create_task(watcher.wait(PLAIN, check=False, on_update=lambda job: seen.append(job.ref)))
    [result] = await watcher.wait_all([REF], on_update=lambda job: seen.append(job.ref))
    await iterating
    assert sorted(map(str, seen)) == sorted([str(REF)] * 6 + [str(PLAIN)] * 3)
    assert (await plain).ref == PLAIN
    assert result.job is not None
    assert isinstance(result.error, JobFailedError)
    assert result.job.ref == result.error.job.ref == REF


@virtual_time
async def test_the_last_snapshot_carries_the_reference() -> None:
    """``last_job`` and the job that `wait` returns have the requested reference too."""
    watcher = JobWatcher(server_of(RUNNING).client(), interval=10)
    with pytest.raises(WatchTimeoutError) as caught:
        await watcher.wait(REF, timeout=15)
    assert caught.value.last_job is not None
    assert caught.value.last_job.ref == REF
    job = await JobWatcher(server_of(COMPLETED).client()).wait(REF)
    assert job.ref == REF
    again = await JobWatcher(server_of(COMPLETED).client()).wait(job)
    assert again.ref == REF


async def timed_out(server: ScriptedServer) -> ClanforgeError:
    with pytest.raises(WatchTimeoutError) as caught:
        await JobWatcher(server.client(), interval=10).wait(PLAIN, timeout=20)
    return caught.value


async def closed(server: ScriptedServer) -> ClanforgeError:
    watcher = JobWatcher(server.client(), interval=10)
    waiting = asyncio.create_task(watcher.wait(PLAIN))
    await asyncio.sleep(20)
    await watcher.aclose()
    with pytest.raises(WatchClosedError) as caught:
        await waiting
    return caught.value


@pytest.mark.parametrize("end", [timed_out, closed])
def test_a_watch_that_ends_in_an_outage_names_the_last_failure(
    end: Callable[[ScriptedServer], Awaitable[WatchTimeoutError | WatchClosedError]],
) -> None:
    """``last_error`` is the last poll's failure: chained, in the message, and kept by pickling."""

    @virtual_time
    async def run() -> None:
        error = await end(server_of(httpx.ReadError("reset"), RUNNING, httpx.Response(502)))
        assert isinstance(error.last_error, ServerError)
        assert error.__cause__ is error.last_error
        assert error.last_error.__traceback__ is None
        assert str(error).endswith(f"(last seen Running at 50 %); last poll: {error.last_error}")
        loaded = pickle.loads(pickle.dumps(error))  # noqa: S301 - made here
        assert str(loaded) == str(error)
        assert str(loaded.last_error) == str(error.last_error)
        assert loaded.__cause__ is loaded.last_error
        assert loaded.last_job == error.last_job

    run()


@pytest.mark.parametrize("end", [timed_out, closed])
def test_a_watch_whose_last_poll_succeeded_names_no_failure(
    end: Callable[[ScriptedServer], Awaitable[WatchTimeoutError | WatchClosedError]],
) -> None:
    """An earlier failure from which the polls have recovered is not named."""

    @virtual_time
    async def run() -> None:
        error = await end(server_of(httpx.ReadError("reset"), RUNNING))
        assert (error.last_error, error.__cause__) == (None, None)
        assert str(error).endswith("(last seen Running at 50 %)")
        loaded = pickle.loads(pickle.dumps(error))  # noqa: S301 - made here
        assert loaded.last_error is None

    run()


@virtual_time
async def test_a_stale_job_has_no_last_error() -> None:
    """If a watch ends as stale, its last poll succeeded."""
    with pytest.raises(StaleJobError) as caught:
        await JobWatcher(server_of(httpx.Response(500), STALE).client(), stale_after=10).wait(REF)
    assert caught.value.last_error is None


class UnusualError(Exception):
    """An exception of a transport, which can't be made from its arguments."""

    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


ENDS: list[Any] = [
    pytest.param(httpx.Response(404), NotFoundError, id="refused"),
    pytest.param(FAILED, JobFailedError, id="failed"),
    pytest.param(httpx.Response(500), ServerError, id="outage"),
    pytest.param(httpx.ReadError("reset"), TransportError, id="network"),
    pytest.param(UnusualError(code=7), UnusualError, id="bug"),
    pytest.param(FileNotFoundError(2, "No such file", "token"), Exception, id="file"),
]


@pytest.mark.parametrize(("response", "expected"), ENDS)
@virtual_time
async def test_each_watch_gets_its_own_error(response: Answer, expected: type[Exception]) -> None:
    """Errors of watches of one job are equal but separate: notes and frames of one are not in the other."""
    watcher = JobWatcher(server_of(response).client(), outage_tolerance=0)

    async def one(number: int) -> Exception:
        try:
            await watcher.wait(PLAIN)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            error.add_note(f"note {number}")
            return error
        raise AssertionError

    first, second, results = await asyncio.gather(one(1), one(2), watcher.wait_all([PLAIN, PLAIN]))
    errors = [first, second, *(result.error for result in results)]
    assert len({id(error) for error in errors}) == 4
    assert all(isinstance(error, expected) and type(error) is type(first) for error in errors)
    assert len({str(error) for error in errors}) == 1
    assert [getattr(error, "__notes__", []) for error in errors] == [["note 1"], ["note 2"], [], []]
    for result in results:
        assert result.error is not None
        assert result.error.__traceback__ is None
        assert result.error.__context__ is None
        assert result.error.__cause__ is None or result.error.__cause__.__traceback__ is None
        assert vars(result.error) == {name: value for name, value in vars(first).items() if name != "__notes__"}


def test_a_copied_error_is_whole() -> None:
    """The copy has the class, arguments, attributes, notes and cause, but no frames; its list of notes is separate."""

    def fail() -> None:
        raise UnusualError(code=7) from FileNotFoundError(2, "No such file", "token")

    with pytest.raises(UnusualError) as caught:
        fail()
    error = caught.value
    error.add_note("a note")
    copied = copy_error(error)
    copied.add_note("another")
    assert (type(copied), copied.args, copied.code) == (UnusualError, ("code 7",), 7)
    assert (error.__notes__, copied.__notes__) == (["a note"], ["a note", "another"])
    assert copied.__traceback__ is None
    assert isinstance(copied.__cause__, FileNotFoundError)
    assert copied.__cause__ is not error.__cause__
    assert copied.__cause__.filename == "token"
