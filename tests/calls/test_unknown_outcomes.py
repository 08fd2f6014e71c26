"""The eight calls with a side effect: sent again only if the server cannot have acted, and else looked up once."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from attrs import evolve, frozen
from support.failures import MAX_RESPONSE_BYTES, REJECTED, UNKNOWN_OUTCOMES, UNSENT
from support.image_answers import IMAGE, install_wire, options_wire
from support.scripted_server import START, Answer, ScriptedServer, answer, envelope, wire
from support.side_effects import BY_NAME, INSTALL, SIDE_EFFECTS, SideEffect
from support.virtual_time import virtual_time

from clanforge_async import (
    APIError,
    ClanforgeClient,
    DiffRejection,
    ImageLockedError,
    InvalidResponseError,
    JobRef,
    JobState,
    OutcomeUnknownError,
    QueuedInstall,
    RateLimitError,
    RetryOutcomeUnknownError,
    TransportError,
)

Key = tuple[str, int]
OPTIONS, INSTALLS = ("image/options", 0), ("imageinstall/status", 0)
UPDATE, DIFF = "imageupdate/status", "imagediff/status"
FAILED_READ = httpx.Response(404, json=envelope("no such thing"))
NO_LOCK = options_wire()

each_call = pytest.mark.parametrize("call", SIDE_EFFECTS, ids=str)


@frozen
class Look:
    """What the reads after a failure show, and what the call makes of it.

    Attributes:
        name: A word for it.
        call: The call.
        reads: The responses to the reads, by call and id.
        result: What the call returns; None: its outcome stays unknown.
        candidate: The error's ``candidate``.
        lock: The error's ``lock``.
    """

    name: str
    call: SideEffect
    reads: Mapping[Key, Any]
    result: Any = None
    candidate: JobRef | None = None
    lock: JobRef | None = None

    def __str__(self) -> str:
        return f"{self.call}: {self.name}"


def looks_after_create(kind: str, id_field: str, rival_field: str, ref: JobRef) -> list[Look]:
    call = BY_NAME[f"image_{kind}s.create"]
    lock, status = options_wire(**{id_field: 6}), (f"image{kind}/status", 6)
    return [
        Look("ours or a rival's", call, {OPTIONS: lock, status: wire(6, jobcreated=START)}, candidate=ref),
        Look("ended already", call, {OPTIONS: lock, status: wire(6, JobState.FAILED, jobcreated=START)}, candidate=ref),
        Look("an older one", call, {OPTIONS: lock, status: wire(6, jobcreated=START - 2)}),
        Look("of the other kind", call, {OPTIONS: options_wire(**{rival_field: 6})}),
        Look("none", call, {OPTIONS: NO_LOCK}),
        Look("read of the lock fails", call, {OPTIONS: FAILED_READ}),
        Look("read of the job fails", call, {OPTIONS: lock, status: FAILED_READ}),
        Look("image in no game", call, {OPTIONS: options_wire(5)}),
    ]


def looks_after_retry(kind: str) -> list[Look]:
    call, status = BY_NAME[f"image_{kind}s.retry"], (f"image{kind}/status", 5)
    return [
        Look("runs", call, {status: wire(5, jobupdated=START - 9)}, result=JobState.RUNNING),
        Look("ended since", call, {status: wire(5, JobState.FAILED, jobupdated=START + 2)}, result=JobState.FAILED),
        Look("ended before", call, {status: wire(5, JobState.FAILED, jobupdated=START - 2)}),
        Look("read fails", call, {status: FAILED_READ}),
    ]


REJECT, VERSION, QUEUE = (BY_NAME[f"image_{name}"] for name in ("diffs.reject", "versions.create", "installs.queue"))
LOOKS = [
    *looks_after_create("update", "updateid", "diffid", JobRef.image_update(6)),
    *looks_after_create("diff", "diffid", "updateid", JobRef.image_diff(6)),
    *looks_after_retry("update"),
    *looks_after_retry("diff"),
    Look("image is free", REJECT, {OPTIONS: NO_LOCK}, result=DiffRejection(diff_id=5)),
    Look("another locks it", REJECT, {OPTIONS: options_wire(diffid=6)}, result=DiffRejection(diff_id=5)),
    Look("update locks it", REJECT, {OPTIONS: options_wire(updateid=5)}, result=DiffRejection(diff_id=5)),
    Look("still locks it", REJECT, {OPTIONS: options_wire(diffid=5)}, lock=JobRef.image_diff(5)),
    Look("read fails", REJECT, {OPTIONS: FAILED_READ}),
    Look("diff still locks", VERSION, {OPTIONS: options_wire(diffid=5)}, lock=JobRef.image_diff(5)),
    Look("another locks", VERSION, {OPTIONS: options_wire(updateid=6)}, lock=JobRef.image_update(6)),
    Look("image is free", VERSION, {OPTIONS: NO_LOCK}),
    Look("read fails", VERSION, {OPTIONS: FAILED_READ}),
    Look("entry is gone", QUEUE, {INSTALLS: {"installs": [install_wire(32)]}}, result=QueuedInstall()),
    *(
        Look(state.name.lower(), QUEUE, {INSTALLS: {"installs": [install_wire(31, state)]}}, result=QueuedInstall())
        for state in (JobState.QUEUED, JobState.RUNNING, JobState.COMPLETED)
    ),
    Look("still pending", QUEUE, {INSTALLS: {"installs": [install_wire(31)]}}),
    Look("created", QUEUE, {INSTALLS: {"installs": [install_wire(31, JobState.CREATED)]}}),
    Look("read fails", QUEUE, {INSTALLS: FAILED_READ}),
    Look("no read", BY_NAME["images.set_active"], {}),
]


ONE_OF_EACH_KIND = ("read timeout", "502", "html")
"""A lost response, an error and an unreadable response."""


def looks_and_failures() -> Iterator[tuple[Look, str]]:
    """Yield each call's first look after every failure, and its other looks after one failure of each kind."""
    met = set[str]()
    for look in LOOKS:
        for failure in ONE_OF_EACH_KIND if look.call.name in met else UNKNOWN_OUTCOMES:
            yield look, failure
        met.add(look.call.name)


def scripted(call: SideEffect, failure: Answer, reads: Mapping[Key, Any]) -> ScriptedServer:
    server = ScriptedServer()
    server.on(*call.key, lambda: failure)
    for key, body in reads.items():
        server.on(*key, lambda body=body: body if isinstance(body, httpx.Response) else answer(body))  # type: ignore[misc] # bound
    return server


async def doubt(call: SideEffect, client: ClanforgeClient) -> OutcomeUnknownError:
    with pytest.raises(OutcomeUnknownError) as raised:
        await call.send(client)
    return raised.value


@pytest.mark.parametrize(("look", "failure"), [*looks_and_failures()], ids=str)
def test_a_look_decides_as_far_as_it_can(look: Look, failure: str) -> None:
    """After a failure with unknown outcome the documented reads decide, and the call is never sent again.

    The failure and the reads are independent: every call meets every failure, and each look one failure of each kind.
    """

    @virtual_time
    async def run() -> None:
        make, error_type = UNKNOWN_OUTCOMES[failure]
        server = scripted(look.call, make(), look.reads)
        async with server.client(max_response_bytes=MAX_RESPONSE_BYTES) as client:
            if look.result is None:
                error = await doubt(look.call, client)
                assert (error.call, error.candidate, error.lock) == (look.call.name, look.candidate, look.lock)
                assert type(error.__cause__) is error_type
                assert isinstance(error, RetryOutcomeUnknownError) is look.call.name.endswith("retry")
                twin = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
                assert (twin.call, twin.candidate, twin.lock) == (error.call, error.candidate, error.lock)
            else:
                result = await look.call.send(client)
                assert (result.state if isinstance(look.result, JobState) else result) == look.result
        assert len(server.asked.pop(look.call.key)) == 1
        assert server.asked.keys() == look.reads.keys()

    run()


@each_call
def test_a_failed_read_is_noted(call: SideEffect) -> None:
    """If the read that could decide fails too, the cause says so; the error stays that of the call."""

    @virtual_time
    async def run() -> None:
        reads = dict.fromkeys([OPTIONS, INSTALLS, (UPDATE, 5), (DIFF, 5)], httpx.Response(403))
        async with scripted(call, httpx.ReadTimeout("late"), reads).client() as client:
            error = await doubt(call, client)
        notes = getattr(error.__cause__, "__notes__", [])
        assert [note.partition(":")[0] for note in notes] == [
            {
                "image_installs.queue": "nor could the installs be listed",
                "image_updates.retry": "nor could the job's status be read",
                "image_diffs.retry": "nor could the job's status be read",
            }.get(call.name, "nor could the image's lock be read")
        ] * (call.name != "images.set_active")

    run()


@pytest.mark.parametrize(
    "call",
    [
        SideEffect(
            "image_diffs.reject",
            REJECT.key,
            REJECT.path,
            lambda client: client.image_diffs.reject(5, reinstall=True),
            {"diffid": 5},
        ),
        SideEffect(
            "image_versions.create",
            VERSION.key,
            VERSION.path,
            lambda client: client.image_versions.create(5, restart=True),
            wire(9),
        ),
    ],
    ids=str,
)
@virtual_time
async def test_without_an_image_nothing_is_read(call: SideEffect) -> None:
    """Without ``image_id`` no read can decide, so none is sent."""
    server = scripted(call, httpx.ReadTimeout("late"), {})
    async with server.client() as client:
        error = await doubt(call, client)
    assert (error.call, error.lock) == (call.name, None)
    assert server.asked == {call.key: [0.0]}


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING, None])
@virtual_time
async def test_an_install_that_had_begun_tells_nothing(state: JobState | None) -> None:
    """An install that was past Pending when asked, or in an unknown state, proves nothing as long as it is listed."""
    server = scripted(QUEUE, httpx.ReadTimeout("late"), {INSTALLS: {"installs": [install_wire(31, JobState.RUNNING)]}})
    async with server.client() as client:
        with pytest.raises(OutcomeUnknownError):
            await client.image_installs.queue(evolve(INSTALL, state=state))


@pytest.mark.parametrize(
    ("created", "is_candidate"), [(START - 10, False), (START - 1, False), (START, True), (START + 9, True)]
)
@pytest.mark.parametrize("skew", [-86400, 0, 86400])
def test_since_the_call_is_by_the_servers_clock(created: int, is_candidate: bool, skew: int) -> None:
    """A job of the second of the call or later is a candidate, however long the failure took to show."""

    @virtual_time
    async def run() -> None:
        call = BY_NAME["image_diffs.create"]

        async def time_out() -> Answer:
            await asyncio.sleep(20)
            return httpx.ReadTimeout("late")

        server = scripted(call, httpx.ReadTimeout("late"), {OPTIONS: options_wire(diffid=6)})
        server.on(*call.key, time_out)
        server.on(DIFF, 6, lambda: dated(wire(6, jobcreated=created + skew), START + 20 + skew))
        async with server.client() as client:
            error = await doubt(call, client)
        assert error.candidate == (JobRef.image_diff(6) if is_candidate else None)

    run()


@virtual_time
async def test_without_a_date_no_job_is_a_candidate() -> None:
    """Without a `Date` nothing is known of the server's clock."""
    call = BY_NAME["image_diffs.create"]
    undated = httpx.Response(200, json=wire(6, jobcreated=START + 60))
    server = scripted(call, httpx.ReadTimeout("late"), {OPTIONS: options_wire(diffid=6), (DIFF, 6): undated})
    async with server.client() as client:
        assert (await doubt(call, client)).candidate is None


@each_call
def test_a_read_that_decides_is_repeated(call: SideEffect) -> None:
    """The reads that decide have no side effect, so they are sent again after transient failures."""
    reads = {(UPDATE, 5): wire(5), (DIFF, 5): wire(5), OPTIONS: NO_LOCK, INSTALLS: {"installs": []}}

    @virtual_time
    async def run() -> None:
        server = scripted(call, httpx.ReadTimeout("late"), {})
        for key, body in reads.items():
            answers = [httpx.Response(503), httpx.ReadError("reset")]
            server.on(*key, lambda body=body, answers=answers: answers.pop(0) if answers else answer(body))  # type: ignore[misc] # bound
        async with server.client() as client:
            with suppress(OutcomeUnknownError):
                await call.send(client)
        assert len(server.asked.pop(call.key)) == 1
        assert {len(times) for times in server.asked.values()} <= {3, 4}

    run()


# Nothing sent, 429, refusals


@each_call
@pytest.mark.parametrize("failure", UNSENT)
def test_a_call_without_a_connection_is_sent_again(call: SideEffect, failure: str) -> None:
    """If no connection was made, the call is sent again; if none can be made at all, the outcome is known."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        answers = [UNSENT[failure], UNSENT[failure]]
        server.on(*call.key, lambda: answers.pop() if answers else answer(call.answer))
        async with server.client() as client:
            await call.send(client)
        assert len(server.asked.pop(call.key)) == 3
        server.on(*call.key, lambda: UNSENT[failure])
        async with server.client(max_retries=1) as client:
            with pytest.raises(TransportError) as raised:
                await call.send(client)
        assert raised.value.request_sent is False
        assert len(server.asked.pop(call.key)) == 2
        assert not server.asked

    run()


@each_call
@virtual_time
async def test_a_429_is_sent_again(call: SideEffect) -> None:
    """A 429 was not acted upon: the call is sent again, after ``Retry-After``."""
    server = ScriptedServer()
    answers = [httpx.Response(429, headers={"Retry-After": "20"})]
    server.on(*call.key, lambda: answers.pop() if answers else answer(call.answer))
    async with server.client() as client:
        await call.send(client)
    first, second = server.asked.pop(call.key)
    assert second - first >= 20
    assert not server.asked


@each_call
@virtual_time
async def test_a_429_with_a_long_pause_is_raised(call: SideEffect) -> None:
    """``Retry-After`` beyond 60 s is raised at once, with its value."""
    server = scripted(call, httpx.Response(429, headers={"Retry-After": "61"}), {})
    async with server.client() as client:
        with pytest.raises(RateLimitError) as raised:
            await call.send(client)
    assert raised.value.retry_after == 61
    assert server.asked == {call.key: [0.0]}


@each_call
@virtual_time
async def test_a_503_with_a_long_pause_leaves_the_outcome_unknown(call: SideEffect) -> None:
    """A 503 may have been acted upon; with ``Retry-After`` beyond 60 s no read can tell, so none is sent."""
    server = scripted(call, httpx.Response(503, headers={"Retry-After": "61"}), {})
    async with server.client() as client:
        await doubt(call, client)
    assert server.asked == {call.key: [0.0]}


@each_call
@pytest.mark.parametrize("failure", REJECTED)
def test_a_refusal_is_raised_at_once(call: SideEffect, failure: str) -> None:
    """A refusal, also with status 200, means that nothing was done: no second request, no read."""

    @virtual_time
    async def run() -> None:
        server = scripted(call, REJECTED[failure], {})
        async with server.client() as client:
            with pytest.raises(APIError) as raised:
                await call.send(client)
        assert server.asked == {call.key: [0.0]}
        error = raised.value
        assert isinstance(error, ImageLockedError) is failure.startswith("locked")
        if isinstance(error, ImageLockedError):
            is_update = failure == "locked by update"
            assert error.holder == (JobRef.image_update(6) if is_update else JobRef.image_diff(6))
            assert (error.diff_id, error.update_id) == ((None, 6) if is_update else (6, None))

    run()


# Readable answers of the wrong shape


@each_call
@pytest.mark.parametrize("body", [{}, {"success": True}, {"something": "else"}], ids=str)
def test_an_answer_that_lacks_its_fields(call: SideEffect, body: dict[str, Any]) -> None:
    """A create was done if a readable answer lacks the id: `InvalidResponseError`. Any other call is in doubt."""

    @virtual_time
    async def run() -> None:
        reads = dict.fromkeys([OPTIONS, INSTALLS, (UPDATE, 5), (DIFF, 5)], FAILED_READ)
        server = scripted(call, httpx.Response(200, json=body), reads)
        async with server.client() as client:
            with pytest.raises((InvalidResponseError, OutcomeUnknownError)) as raised:
                await call.send(client)
        is_create = call.name.endswith("create")
        assert isinstance(raised.value, InvalidResponseError) is is_create
        if isinstance(raised.value, InvalidResponseError):
            assert set(raised.value.fields) & {"updateid", "diffid", "imageversionid"}
            assert server.asked.keys() == {call.key}
        assert len(server.asked[call.key]) == 1

    run()


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("image_updates.retry", wire(6)),
        ("image_diffs.retry", wire(6)),
        ("image_diffs.reject", {"diffid": 6}),
        ("images.set_active", {"image": {"imageid": IMAGE + 1, "active": 1}}),
    ],
)
@virtual_time
async def test_an_answer_about_another_id_is_in_doubt(call: str, body: dict[str, Any]) -> None:
    """An answer about another job, diff or image than was asked for proves nothing."""
    reads = dict.fromkeys([OPTIONS, (UPDATE, 5), (DIFF, 5)], FAILED_READ)
    async with scripted(BY_NAME[call], answer(body), reads).client() as client:
        error = await doubt(BY_NAME[call], client)
    assert isinstance(error.__cause__, InvalidResponseError)


def dated(body: dict[str, Any], seconds: int) -> httpx.Response:
    date = format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)
    return httpx.Response(200, json=body, headers={"Date": date})
